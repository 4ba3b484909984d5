/* What only the newer librdkafka can ask for. */
#include "story.h"

#if MODERN
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "clients.h"
#include "groups.h"
#include "steps.h"

static void put_partitions(struct line *line, const char *key, const rd_kafka_topic_partition_list_t *seen) {
    rd_kafka_topic_partition_list_t *list = seen ? rd_kafka_topic_partition_list_copy(seen) : rd_kafka_topic_partition_list_new(0);
    rd_kafka_topic_partition_list_sort(list, NULL, NULL); /* no order is promised */
    struct text found = {0};
    begin(&found);
    for (int at = 0; at < list->cnt; at++)
        item(&found, "[%d, %lld, \"%s\"]", list->elems[at].partition, (long long)list->elems[at].offset, rd_kafka_err2name(list->elems[at].err));
    end(&found);
    put_json(line, key, &found);
    rd_kafka_topic_partition_list_destroy(list);
}

static rd_kafka_topic_partition_list_t *places(const char *topic, int count, int64_t offset) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int at = 0; at < count; at++) rd_kafka_topic_partition_list_add(list, name(topic), at)->offset = offset + at;
    return list;
}

/* The error of the first group in an answer. */
static void put_group_error(struct line *line, rd_kafka_event_t *event, const rd_kafka_group_result_t **results, size_t count) {
    const rd_kafka_error_t *error = count ? rd_kafka_group_result_error(results[0]) : NULL;
    put_error(line, rd_kafka_event_error(event) ? rd_kafka_event_error(event) : rd_kafka_error_code(error));
    put_text(line, "message", error ? rd_kafka_error_string(error) : NULL);
    if (count) put_partitions(line, "partitions", rd_kafka_group_result_partitions(results[0]));
}

void delete_group(rd_kafka_t *client, const char *group) {
    rd_kafka_DeleteGroup_t *wanted = rd_kafka_DeleteGroup_new(name(group));
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DeleteGroups(client, &wanted, 1, NULL, queue);
    rd_kafka_event_t *event = await(queue);
    size_t count;
    const rd_kafka_group_result_t **results = rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
    struct line line = {0};
    put_text(&line, "delete", group);
    put_group_error(&line, event, results, count);
    tell(&line);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteGroup_destroy(wanted);
}

static void alter_offsets(rd_kafka_t *client, const char *group, const char *topic) {
    rd_kafka_topic_partition_list_t *list = places(topic, 4, 1);
    rd_kafka_AlterConsumerGroupOffsets_t *wanted = rd_kafka_AlterConsumerGroupOffsets_new(name(group), list);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_AlterConsumerGroupOffsets(client, &wanted, 1, NULL, queue);
    rd_kafka_event_t *event = await(queue);
    size_t count;
    const rd_kafka_group_result_t **results =
        rd_kafka_AlterConsumerGroupOffsets_result_groups(rd_kafka_event_AlterConsumerGroupOffsets_result(event), &count);
    struct line line = {0};
    put_text(&line, "alter", topic);
    put_group_error(&line, event, results, count);
    tell(&line);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AlterConsumerGroupOffsets_destroy(wanted);
    rd_kafka_topic_partition_list_destroy(list);
}

static void delete_offsets(rd_kafka_t *client, const char *group) {
    rd_kafka_topic_partition_list_t *list = places("shared", 2, 0);
    rd_kafka_DeleteConsumerGroupOffsets_t *wanted = rd_kafka_DeleteConsumerGroupOffsets_new(name(group), list);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DeleteConsumerGroupOffsets(client, &wanted, 1, NULL, queue);
    rd_kafka_event_t *event = await(queue);
    size_t count;
    const rd_kafka_group_result_t **results =
        rd_kafka_DeleteConsumerGroupOffsets_result_groups(rd_kafka_event_DeleteConsumerGroupOffsets_result(event), &count);
    struct line line = {0};
    put_text(&line, "delete offsets", group);
    put_group_error(&line, event, results, count);
    tell(&line);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteConsumerGroupOffsets_destroy(wanted);
    rd_kafka_topic_partition_list_destroy(list);
}

static void list_offsets_of(rd_kafka_t *client, const char *group) {
    rd_kafka_ListConsumerGroupOffsets_t *wanted = rd_kafka_ListConsumerGroupOffsets_new(name(group), NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_ListConsumerGroupOffsets(client, &wanted, 1, NULL, queue);
    rd_kafka_event_t *event = await(queue);
    size_t count;
    const rd_kafka_group_result_t **results =
        rd_kafka_ListConsumerGroupOffsets_result_groups(rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
    struct line line = {0};
    put_text(&line, "offsets", group);
    put_group_error(&line, event, results, count);
    tell(&line);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ListConsumerGroupOffsets_destroy(wanted);
}

static void describe_group(rd_kafka_t *client, const char *group) {
    const char *wanted = name(group);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DescribeConsumerGroups(client, &wanted, 1, NULL, queue);
    rd_kafka_event_t *event = await(queue);
    size_t count;
    const rd_kafka_ConsumerGroupDescription_t **seen =
        rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event), &count);
    struct line line = {0};
    put_text(&line, "group", group);
    const rd_kafka_error_t *error = rd_kafka_ConsumerGroupDescription_error(seen[0]);
    put_error(&line, rd_kafka_error_code(error));
    put_text(&line, "message", error ? rd_kafka_error_string(error) : NULL);
    put_text(&line, "state", rd_kafka_consumer_group_state_name(rd_kafka_ConsumerGroupDescription_state(seen[0])));
    put_text(&line, "assignor", rd_kafka_ConsumerGroupDescription_partition_assignor(seen[0]));
    put_flag(&line, "simple", rd_kafka_ConsumerGroupDescription_is_simple_consumer_group(seen[0]));
    put_number(&line, "members", rd_kafka_ConsumerGroupDescription_member_count(seen[0]));
    tell(&line);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
}

void administer_groups(void) {
    rd_kafka_t *client = open_producer(NULL);
    alter_offsets(client, "altered", "shared");
    alter_offsets(client, "altered", "unknown");
    list_offsets_of(client, "altered");
    delete_offsets(client, "altered");
    delete_offsets(client, "unknown");
    list_offsets_of(client, "altered");
    list_offsets_of(client, "unknown");
    static const char *const described[] = {"altered", "queue", "static", "unknown"};
    for (size_t at = 0; at < sizeof described / sizeof *described; at++) describe_group(client, described[at]);
    delete_group(client, "altered");
    delete_group(client, "unknown");
    rd_kafka_destroy(client);
}

void alter_by_operation(void) {
    static const struct {
        const char *key, *value;
        rd_kafka_AlterConfigOpType_t operation;
    } asked[] = {
        {"max.message.bytes", NULL, RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE},
        {"cleanup.policy", "compact", RD_KAFKA_ALTER_CONFIG_OP_TYPE_APPEND},
        {"cleanup.policy", "delete", RD_KAFKA_ALTER_CONFIG_OP_TYPE_SUBTRACT},
        {"retention.ms", "1", RD_KAFKA_ALTER_CONFIG_OP_TYPE_APPEND},
        {"retention.ms", "x", RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET},
    };
    rd_kafka_t *client = open_producer(NULL);
    struct line line = {0};
    for (size_t at = 0; at < sizeof asked / sizeof *asked; at++) {
        rd_kafka_ConfigResource_t *wanted = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name("made"));
        rd_kafka_error_destroy(rd_kafka_ConfigResource_add_incremental_config(wanted, asked[at].key, asked[at].operation, asked[at].value));
        rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
        rd_kafka_IncrementalAlterConfigs(client, &wanted, 1, NULL, queue);
        rd_kafka_event_t *event = await(queue);
        size_t count;
        const rd_kafka_ConfigResource_t **resources =
            rd_kafka_IncrementalAlterConfigs_result_resources(rd_kafka_event_IncrementalAlterConfigs_result(event), &count);
        put_text(&line, "key", asked[at].key);
        put_error(&line, count ? rd_kafka_ConfigResource_error(resources[0]) : rd_kafka_event_error(event));
        put_text(&line, "message", count ? rd_kafka_ConfigResource_error_string(resources[0]) : NULL);
        tell(&line);
        rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(queue);
        rd_kafka_ConfigResource_destroy(wanted);
    }
    until((line.fields = 0, put_set_configs(&line, client, "made"), has(&line, "cleanup.policy")), 8, usleep(50000));
    tell(&line);
    rd_kafka_destroy(client);
}

void list_offsets(void) {
    static const int64_t asked[] = {RD_KAFKA_OFFSET_SPEC_EARLIEST, RD_KAFKA_OFFSET_SPEC_LATEST, RD_KAFKA_OFFSET_SPEC_MAX_TIMESTAMP};
    rd_kafka_t *client = open_producer(NULL);
    struct line line = {0};
    for (size_t at = 0; at < sizeof asked / sizeof *asked; at++) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(3);
        for (int partition = 0; partition < 3; partition++)
            rd_kafka_topic_partition_list_add(list, name("times"), partition)->offset = asked[at];
        rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
        rd_kafka_ListOffsets(client, list, NULL, queue);
        rd_kafka_event_t *event = await(queue);
        size_t count;
        const rd_kafka_ListOffsetsResultInfo_t **infos = rd_kafka_ListOffsets_result_infos(rd_kafka_event_ListOffsets_result(event), &count);
        struct text found[3] = {{0}};
        for (size_t one = 0; one < count; one++) {
            const rd_kafka_topic_partition_t *place = rd_kafka_ListOffsetsResultInfo_topic_partition(infos[one]);
            add(&found[place->partition], "[%lld, %lld]", (long long)place->offset,
                (long long)rd_kafka_ListOffsetsResultInfo_timestamp(infos[one]));
        }
        put_number(&line, "asked", asked[at]);
        put_error(&line, rd_kafka_event_error(event));
        static const char *const keys[] = {"partition 0", "partition 1", "partition 2"};
        for (size_t one = 0; one < count; one++) put_json(&line, keys[one], &found[one]);
        tell(&line);
        rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(queue);
        rd_kafka_topic_partition_list_destroy(list);
    }
    rd_kafka_destroy(client);
}

void delete_records(void) {
    static const int64_t before[] = {2, 1, RD_KAFKA_OFFSET_END, 1000};
    rd_kafka_t *client = open_producer(NULL);
    struct line line = {0};
    for (size_t at = 0; at < sizeof before / sizeof *before; at++) {
        rd_kafka_topic_partition_list_t *list = places("shared", 1, before[at]);
        rd_kafka_DeleteRecords_t *wanted = rd_kafka_DeleteRecords_new(list);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
        rd_kafka_DeleteRecords(client, &wanted, 1, NULL, queue);
        rd_kafka_event_t *event = await(queue);
        put_number(&line, "before", before[at]);
        put_error(&line, rd_kafka_event_error(event));
        if (!rd_kafka_event_error(event))
            put_partitions(&line, "low watermark", rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event)));
        int64_t low = -1, high = -1;
        rd_kafka_query_watermark_offsets(client, name("shared"), 0, &low, &high, 5000);
        put_number(&line, "low", low);
        put_number(&line, "high", high);
        tell(&line);
        rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(queue);
        rd_kafka_DeleteRecords_destroy(wanted);
        rd_kafka_topic_partition_list_destroy(list);
    }
    rd_kafka_destroy(client);
}
#endif
