/* The story of librdkafka, one source for every version of it. */
#include "admin.h"
#include "steps.h"

static const struct step steps[] = {
    {"cluster", cluster, 15},
    {"create-topics", create_topics, 15},
    {"describe-topics", describe_topics, 20},
    {"add-partitions", add_partitions, 15},
    {"alter-configs", alter_configs, 15},
#if MODERN
    {"alter-by-operation", alter_by_operation, 15},
#endif
    {"produce", produce_none, 20},
    {"produce", produce_gzip, 20},
    {"produce", produce_snappy, 20},
    {"produce", produce_lz4, 20},
    {"produce", produce_zstd, 20},
    {"consume", consume, 20},
    {"small-fetches", small_fetches, 15},
    {"produce-idempotently", produce_idempotently, 25},
    {"produce-too-much", produce_too_much, 20},
    {"produce-by-key", produce_by_key, 15},
    {"time-of-appending", time_of_appending, 15},
    {"create-by-producing", create_by_producing, 15},
    {"fill-times", fill_times, 15},
    {"offsets-by-time", offsets_by_time, 15},
    {"seek", seek, 15},
    {"seek-out-of-range", seek_out_of_range, 20},
    {"fill-groups", fill_groups, 15},
    {"commit-and-go-on", commit_and_go_on, 30},
    {"share", share_by_range, 40},
    {"share", share_by_roundrobin, 40},
    {"subscribe-by-pattern", subscribe_by_pattern, 30},
#if MODERN
    {"share", share_cooperatively, 40},
    {"static-members", static_members, 40},
    {"administer-groups", administer_groups, 15},
    {"list-offsets", list_offsets, 15},
    {"delete-records", delete_records, 15},
#endif
    {"groups", groups, 15},
    {"delete-topics", delete_topics, 20},
};

int main(int argc, char **argv) { return tell_story(argc, argv, steps, sizeof steps / sizeof *steps); }
