/* Groups: what is committed, who has which partitions, and what others see of that. */
#include "groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients.h"
#include "steps.h"

void fill_groups(void) {
    make("queue", 1, NULL);
    make("shared", 4, NULL);
    make("pattern-a", 2, NULL);
    make("pattern-b", 2, NULL);
    rd_kafka_t *producer = open_producer(NULL);
    struct delivery deliveries[40];
    for (int at = 0; at < 20; at++) send_value(producer, "queue", 0, "v", at, &deliveries[at]);
    for (int at = 0; at < 20; at++) send_value(producer, "shared", at % 4, "v", at, &deliveries[20 + at]);
    await_deliveries(producer, deliveries, 40);
    struct line line = {0};
    put_offsets(&line, "told", deliveries, 40);
    tell(&line);
    rd_kafka_destroy(producer);
}

static rd_kafka_resp_err_t subscribe(rd_kafka_t *consumer, const char *topic) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t error = rd_kafka_subscribe(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    return error;
}

static void put_committed(struct line *line, rd_kafka_t *consumer) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, name("queue"), 0);
    rd_kafka_resp_err_t error = rd_kafka_committed(consumer, list, 8000);
    put_error(line, error);
    put_number(line, "committed", list->elems[0].offset);
    put_bytes(line, "metadata", list->elems[0].metadata, list->elems[0].metadata_size);
    rd_kafka_topic_partition_list_destroy(list);
}

static rd_kafka_resp_err_t commit(rd_kafka_t *consumer, int64_t offset, const char *metadata, int async) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *place = rd_kafka_topic_partition_list_add(list, name("queue"), 0);
    place->offset = offset;
    if (metadata) place->metadata = strdup(metadata), place->metadata_size = strlen(metadata);
    rd_kafka_resp_err_t error = rd_kafka_commit(consumer, list, async);
    rd_kafka_topic_partition_list_destroy(list);
    return error;
}

static void read_on(rd_kafka_t *consumer, int wanted) {
    struct reading reading = read_records(consumer, wanted, 10);
    struct line line = {0};
    put_read(&line, "read", &reading);
    tell(&line);
}

void commit_and_go_on(void) {
    struct line line = {0};
    rd_kafka_t *consumer = open_consumer("queue", NULL);
    subscribe(consumer, name("queue"));
    read_on(consumer, 10);
    put_committed(&line, consumer);
    tell(&line);
    put_text(&line, "sync", rd_kafka_err2name(commit(consumer, 10, NULL, 0)));
    put_committed(&line, consumer);
    tell(&line);
    put_text(&line, "with words", rd_kafka_err2name(commit(consumer, 11, "with words", 0)));
    put_committed(&line, consumer);
    tell(&line);
    char long_words[5001] = {0};
    memset(long_words, 'm', 5000);
    put_text(&line, "too long", rd_kafka_err2name(commit(consumer, 11, long_words, 0)));
    tell(&line);
    put_text(&line, "async", rd_kafka_err2name(commit(consumer, 12, NULL, 1)));
    close_consumer(consumer); /* which waits for it */
    consumer = open_consumer("queue", NULL);
    subscribe(consumer, name("queue"));
    read_on(consumer, 8);
    put_committed(&line, consumer);
    tell(&line);
    close_consumer(consumer);
    consumer = open_consumer("queue", NULL); /* without being a member */
    put_text(&line, "alone", rd_kafka_err2name(commit(consumer, 7, "alone", 0)));
    put_committed(&line, consumer);
    tell(&line);
    close_consumer(consumer);
    consumer = open_consumer("closing", "enable.auto.commit", "true", "auto.commit.interval.ms", "60000", NULL);
    subscribe(consumer, name("queue"));
    struct reading reading = read_records(consumer, 5, 10);
    put_read(&line, "read", &reading);
    close_consumer(consumer);
    consumer = open_consumer("closing", NULL);
    put_committed(&line, consumer);
    tell(&line);
    close_consumer(consumer);
}

/* What each member has, as text in order; whether all of it is shared out. */
static int look_at_shares(rd_kafka_t **members, int count, int everything, struct line *line) {
    int total = 0, sizes[2] = {0}, all_have = 1;
    char *all[64];
    line->fields = 0;
    for (int at = 0; at < count; at++) {
        rd_kafka_topic_partition_list_t *list;
        rd_kafka_message_t *message = rd_kafka_consumer_poll(members[at], 20);
        if (message) rd_kafka_message_destroy(message);
        if (rd_kafka_assignment(members[at], &list)) continue;
        for (int one = 0; one < list->cnt && total < 64; one++) {
            all[total] = malloc(300);
            snprintf(all[total++], 300, "%s %d", list->elems[one].topic, list->elems[one].partition);
        }
        sizes[at] = list->cnt;
        all_have &= list->cnt > 0;
        rd_kafka_topic_partition_list_destroy(list);
    }
    for (int one = 0; one < total; one++)
        for (int other = one + 1; other < total; other++)
            if (strcmp(all[one], all[other]) > 0) {
                char *kept = all[one];
                all[one] = all[other], all[other] = kept;
            }
    struct text together = {0};
    int disjoint = 1;
    begin(&together);
    for (int one = 0; one < total; one++) {
        disjoint &= !one || strcmp(all[one - 1], all[one]);
        item(&together, "\"%s\"", all[one]);
    }
    end(&together);
    for (int one = 0; one < total; one++) free(all[one]);
    put_number(line, "fewest", count == 1 || sizes[0] < sizes[1] ? sizes[0] : sizes[1]);
    put_number(line, "most", count == 1 || sizes[0] > sizes[1] ? sizes[0] : sizes[1]);
    put_flag(line, "disjoint", disjoint);
    put_json(line, "together", &together);
    return all_have && total == everything;
}

static void balance(const char *when, rd_kafka_t **members, int count, int everything) {
    struct line line = {0};
    until(look_at_shares(members, count, everything, &line), 12, (void)0);
    put_text(&line, "when", when);
    tell(&line);
}

/* A group as lists show it, as soon as it has so many members and is stable, or empty. */
static void look_at_group(rd_kafka_t *client, const char *group, int members) {
    struct line line = {0};
    int settled = 0;
    until(settled, 8, {
        const struct rd_kafka_group_list *list;
        if (rd_kafka_list_groups(client, name(group), &list, 5000)) continue;
        if (list->group_cnt == 1) {
            const struct rd_kafka_group_info *seen = &list->groups[0];
            settled = seen->member_cnt == members && !strcmp(seen->state, members ? "Stable" : "Empty");
            line.fields = 0;
            put_text(&line, "group", group);
            put_error(&line, seen->err);
            put_text(&line, "state", seen->state);
            put_text(&line, "protocol type", seen->protocol_type);
            put_text(&line, "protocol", seen->protocol);
            put_number(&line, "members", seen->member_cnt);
        }
        rd_kafka_group_list_destroy(list);
        if (!settled) usleep(50000);
    });
    tell(&line);
}

/* Gives up what a member has before it goes: a cooperative one that only closes does not tell the group. */
static void leave(rd_kafka_t *member) {
    int left = 0;
    rd_kafka_unsubscribe(member);
    until(left, 3, {
        rd_kafka_topic_partition_list_t *list;
        rd_kafka_message_t *message = rd_kafka_consumer_poll(member, 50);
        if (message) rd_kafka_message_destroy(message);
        if (rd_kafka_assignment(member, &list)) continue;
        left = list->cnt == 0;
        rd_kafka_topic_partition_list_destroy(list);
    });
    close_consumer(member);
}

static void share(const char *assignor) {
    char group[64];
    snprintf(group, sizeof group, "shared-%s", assignor);
    rd_kafka_t *members[2], *client = open_producer(NULL);
    members[0] = open_consumer(group, "partition.assignment.strategy", assignor, NULL);
    subscribe(members[0], name("shared"));
    balance("one", members, 1, 4);
    members[1] = open_consumer(group, "partition.assignment.strategy", assignor, NULL);
    subscribe(members[1], name("shared"));
    balance("two", members, 2, 4);
    look_at_group(client, group, 2);
#if MODERN
    delete_group(client, group); /* which is not empty */
#endif
    leave(members[0]);
    balance("the other", members + 1, 1, 4);
    leave(members[1]);
    look_at_group(client, group, 0);
    rd_kafka_destroy(client);
}

void share_by_range(void) { share("range"); }
void share_by_roundrobin(void) { share("roundrobin"); }
void share_cooperatively(void) { share("cooperative-sticky"); }

void subscribe_by_pattern(void) {
    char pattern[256];
    snprintf(pattern, sizeof pattern, "^%s-.*", name("pattern"));
    rd_kafka_t *member = open_consumer("pattern", NULL);
    subscribe(member, pattern);
    balance("two topics", &member, 1, 4);
    make("pattern-c", 2, NULL);
    balance("three topics", &member, 1, 6);
    close_consumer(member);
}

void static_members(void) {
    rd_kafka_t *members[2], *client = open_producer(NULL);
    const char *instances[2] = {"instance-a", "instance-b"};
    for (int at = 0; at < 2; at++) {
        members[at] = open_consumer("static", "group.instance.id", instances[at], "session.timeout.ms", "60000", NULL);
        subscribe(members[at], name("shared"));
    }
    balance("two", members, 2, 4);
    close_consumer(members[0]);
    look_at_group(client, "static", 2);
    members[0] = open_consumer("static", "group.instance.id", instances[0], "session.timeout.ms", "60000", NULL);
    subscribe(members[0], name("shared"));
    balance("back", members, 2, 4);
    close_consumer(members[0]);
    close_consumer(members[1]);
    look_at_group(client, "static", 2);
    rd_kafka_destroy(client);
}

static int by_name(const void *one, const void *other) {
    return strcmp(((const struct rd_kafka_group_info *)one)->group, ((const struct rd_kafka_group_info *)other)->group);
}

/* Of those without members only groups with offsets are shown: Kafka 3.9 forgets the others when any topic is deleted. */
void groups(void) {
    rd_kafka_t *client = open_producer(NULL);
    const struct rd_kafka_group_list *list;
    struct line line = {0};
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__TRANSPORT; /* also what is said before a broker is known */
    until(!error, 8, if ((error = rd_kafka_list_groups(client, NULL, &list, 5000))) usleep(50000));
    if (error) unexpected("list groups: %s", rd_kafka_err2name(error));
    qsort(list->groups, list->group_cnt, sizeof *list->groups, by_name);
    for (int at = 0; at < list->group_cnt; at++) {
        const struct rd_kafka_group_info *seen = &list->groups[at];
        if (strcmp(seen->group, name("queue")) && strcmp(seen->group, name("closing")) && strcmp(seen->group, name("static"))) continue;
        put_text(&line, "group", seen->group);
        put_text(&line, "state", seen->state);
        put_text(&line, "protocol type", seen->protocol_type);
        tell(&line);
    }
    rd_kafka_group_list_destroy(list);
    rd_kafka_destroy(client);
}
