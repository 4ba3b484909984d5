#include "admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients.h"

void put_answer(struct line *line, const struct answer *answer) {
    put_error(line, answer->error);
    put_text(line, "message", answer->error ? answer->message : NULL);
}

static struct answer answered(rd_kafka_resp_err_t error, const char *message) {
    struct answer answer = {.error = error};
    snprintf(answer.message, sizeof answer.message, "%s", message ? message : "");
    /* Kafka says this since 4, and an older one judges the older library. */
    static const char since_4[] = " or some brokers have all their log directories cordoned";
    char *at = strstr(answer.message, since_4);
    if (at) memmove(at, at + sizeof since_4 - 1, strlen(at + sizeof since_4 - 1) + 1);
    return answer;
}

rd_kafka_event_t *await(rd_kafka_queue_t *queue) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 12000);
    if (!event) unexpected("no answer");
    return event;
}

struct answer of_event(rd_kafka_event_t *event) { return answered(rd_kafka_event_error(event), rd_kafka_event_error_string(event)); }

struct answer of_topic(const rd_kafka_topic_result_t *result) {
    return answered(rd_kafka_topic_result_error(result), rd_kafka_topic_result_error_string(result));
}

/* To wait on the broker's side until it is done, which older versions would not. */
static rd_kafka_AdminOptions_t *waiting(rd_kafka_t *client, rd_kafka_admin_op_t operation) {
    char why[256];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client, operation);
    if (rd_kafka_AdminOptions_set_operation_timeout(options, 5000, why, sizeof why)) unexpected("%s", why);
    return options;
}

struct answer create_topic(rd_kafka_t *client, const char *topic, int partitions, int replication, const char **configs, int validate_only) {
    char why[256];
    rd_kafka_NewTopic_t *wanted = rd_kafka_NewTopic_new(name(topic), partitions, replication, why, sizeof why);
    if (!wanted) return answered(RD_KAFKA_RESP_ERR__INVALID_ARG, why);
    for (; configs && *configs; configs += 2) rd_kafka_NewTopic_set_config(wanted, configs[0], configs[1]);
    rd_kafka_AdminOptions_t *options = waiting(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    if (validate_only) rd_kafka_AdminOptions_set_validate_only(options, 1, why, sizeof why);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_CreateTopics(client, &wanted, 1, options, queue);
    rd_kafka_event_t *event = await(queue);
    struct answer answer = of_event(event);
    size_t count;
    const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    if (!answer.error && count) answer = of_topic(results[0]);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewTopic_destroy(wanted);
    return answer;
}

struct answer delete_topic(rd_kafka_t *client, const char *whole_name) {
    rd_kafka_DeleteTopic_t *wanted = rd_kafka_DeleteTopic_new(whole_name);
    rd_kafka_AdminOptions_t *options = waiting(client, RD_KAFKA_ADMIN_OP_DELETETOPICS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DeleteTopics(client, &wanted, 1, options, queue);
    rd_kafka_event_t *event = await(queue);
    struct answer answer = of_event(event);
    size_t count;
    const rd_kafka_topic_result_t **results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    if (!answer.error && count) answer = of_topic(results[0]);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_DeleteTopic_destroy(wanted);
    return answer;
}

static struct answer grow_topic(rd_kafka_t *client, const char *topic, int total) {
    char why[256];
    rd_kafka_NewPartitions_t *wanted = rd_kafka_NewPartitions_new(name(topic), total, why, sizeof why);
    if (!wanted) return answered(RD_KAFKA_RESP_ERR__INVALID_ARG, why);
    rd_kafka_AdminOptions_t *options = waiting(client, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_CreatePartitions(client, &wanted, 1, options, queue);
    rd_kafka_event_t *event = await(queue);
    struct answer answer = of_event(event);
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event), &count);
    if (!answer.error && count) answer = of_topic(results[0]);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewPartitions_destroy(wanted);
    return answer;
}

void cluster(void) {
    rd_kafka_t *client = open_producer(NULL);
    const struct rd_kafka_metadata *seen;
    rd_kafka_resp_err_t error = rd_kafka_metadata(client, 0, NULL, &seen, 8000);
    if (error) unexpected("metadata: %s", rd_kafka_err2name(error));
    struct line line = {0};
    put_number(&line, "brokers", seen->broker_cnt);
    put_flag(&line, "cluster id", rd_kafka_clusterid(client, 5000) != NULL);
    put_flag(&line, "controller", rd_kafka_controllerid(client, 5000) == seen->brokers[0].id);
    tell(&line);
    rd_kafka_metadata_destroy(seen);
    rd_kafka_destroy(client);
}

static const struct {
    const char *topic;
    int partitions, replication, validate_only;
    const char *configs[8];
} creations[] = {
    {"made", 3, 1, 0, {"retention.ms", "-1", "max.message.bytes", "2000", "cleanup.policy", "compact,delete"}},
    {"made", 3, 1, 0, {0}},
    {"bad/name", 1, 1, 0, {0}},
    {"wide", 1, 5, 0, {0}},
    {"defaults", 1, 1, 0, {0}},
    {"nonsense", 1, 1, 0, {"nonsense", "1"}},
    {"not-a-number", 1, 1, 0, {"retention.ms", "x"}},
    {"out-of-range", 1, 1, 0, {"min.insync.replicas", "0"}},
    {"checked", 2, 1, 1, {0}},
    {"made", 2, 1, 1, {0}},
};

void create_topics(void) {
    rd_kafka_t *client = open_producer(NULL);
    for (size_t at = 0; at < sizeof creations / sizeof *creations; at++) {
        struct answer answer = create_topic(client, creations[at].topic, creations[at].partitions, creations[at].replication,
                                            (const char **)creations[at].configs, creations[at].validate_only);
        struct line line = {0};
        put_text(&line, "topic", creations[at].topic);
        put_flag(&line, "validate only", creations[at].validate_only);
        put_answer(&line, &answer);
        tell(&line);
    }
    rd_kafka_destroy(client);
}

/* The number of partitions that have a leader, or -1 for an error, and what metadata show of them. */
static int look_at(rd_kafka_t *client, const char *topic, struct line *line) {
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, name(topic), NULL);
    const struct rd_kafka_metadata *seen;
    rd_kafka_resp_err_t error = rd_kafka_metadata(client, 0, handle, &seen, 8000);
    rd_kafka_topic_destroy(handle);
    if (error) unexpected("metadata: %s", rd_kafka_err2name(error));
    int led = seen->topics[0].err ? -1 : 0;
    struct text list = {0};
    begin(&list);
    for (int at = 0; at < seen->topics[0].partition_cnt; at++) {
        const struct rd_kafka_metadata_partition *partition = &seen->topics[0].partitions[at];
        led += partition->leader >= 0;
        item(&list, "{\"error\": %d, \"isr\": %d, \"led\": %s, \"partition\": %d, \"replicas\": %d}", partition->err,
             partition->isr_cnt, partition->leader >= 0 ? "true" : "false", partition->id, partition->replica_cnt);
    }
    end(&list);
    line->fields = 0;
    put_text(line, "topic", topic);
    put_error(line, seen->topics[0].err);
    put_json(line, "partitions", &list);
    rd_kafka_metadata_destroy(seen);
    return led;
}

static int our_topics(rd_kafka_t *client, char names[64][256]) {
    const struct rd_kafka_metadata *seen;
    if (rd_kafka_metadata(client, 1, NULL, &seen, 8000)) return -1;
    int count = 0;
    for (int at = 0; at < seen->topic_cnt; at++)
        if (is_ours(seen->topics[at].topic)) snprintf(names[count++], 256, "%s", seen->topics[at].topic);
    rd_kafka_metadata_destroy(seen);
    qsort(names, count, 256, (int (*)(const void *, const void *))strcmp);
    return count;
}

/* Those that were set, or, if asked for by name, those with these names. */
static void put_configs(struct line *line, rd_kafka_t *client, rd_kafka_ResourceType_t type, const char *resource, const char **keys) {
    rd_kafka_ConfigResource_t *wanted = rd_kafka_ConfigResource_new(type, resource);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DescribeConfigs(client, &wanted, 1, NULL, queue);
    rd_kafka_event_t *event = await(queue);
    size_t count;
    const rd_kafka_ConfigResource_t **resources =
        rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &count);
    struct answer answer = of_event(event);
    if (!answer.error) answer = answered(rd_kafka_ConfigResource_error(resources[0]), rd_kafka_ConfigResource_error_string(resources[0]));
    put_answer(line, &answer);
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resources[0], &count);
    for (size_t at = 0; !answer.error && at < count; at++) {
        const char *key = rd_kafka_ConfigEntry_name(entries[at]);
        int asked = !keys && rd_kafka_ConfigEntry_source(entries[at]) == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG;
        for (const char **one = keys; one && *one; one++) asked |= !strcmp(*one, key);
        if (!asked) continue;
        struct text said = {0};
        const char *value = rd_kafka_ConfigEntry_value(entries[at]);
        begin(&said);
        add_quoted(&said, value ? value : "", value ? strlen(value) : 0);
        item(&said, "\"%s\"", rd_kafka_ConfigSource_name(rd_kafka_ConfigEntry_source(entries[at])));
        item(&said, "%d", rd_kafka_ConfigEntry_is_read_only(entries[at]));
        item(&said, "%d", rd_kafka_ConfigEntry_is_sensitive(entries[at]));
        end(&said);
        put_json(line, strdup(key), &said);
    }
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy(wanted);
}

void put_set_configs(struct line *line, rd_kafka_t *client, const char *topic) {
    put_configs(line, client, RD_KAFKA_RESOURCE_TOPIC, name(topic), NULL);
}

void describe_topics(void) {
    rd_kafka_t *client = open_producer(NULL);
    struct line line = {0};
    const char *of_topic[] = {"cleanup.policy", "max.message.bytes", "message.timestamp.type", "retention.ms", "segment.bytes", NULL};
    const char *of_broker[] = {"auto.create.topics.enable", "message.max.bytes", "num.partitions", NULL};
    until(look_at(client, "made", &line) == 3, 8, usleep(50000));
    tell(&line);
    char names[64][256];
    until(our_topics(client, names) == 2, 8, usleep(50000));
    put_text(&line, "first", names[0]);
    put_text(&line, "second", names[1]);
    tell(&line);
    put_set_configs(&line, client, "made");
    tell(&line);
    put_configs(&line, client, RD_KAFKA_RESOURCE_TOPIC, name("defaults"), of_topic);
    tell(&line);
    put_configs(&line, client, RD_KAFKA_RESOURCE_TOPIC, name("unknown"), of_topic);
    tell(&line);
    put_configs(&line, client, RD_KAFKA_RESOURCE_BROKER, "1", of_broker);
    tell(&line);
    rd_kafka_destroy(client);
}

void add_partitions(void) {
    static const struct { const char *topic; int total; } asked[] = {{"made", 5}, {"made", 5}, {"made", 2}, {"unknown", 2}};
    rd_kafka_t *client = open_producer(NULL);
    struct line line = {0};
    for (size_t at = 0; at < sizeof asked / sizeof *asked; at++) {
        struct answer answer = grow_topic(client, asked[at].topic, asked[at].total);
        put_text(&line, "topic", asked[at].topic);
        put_number(&line, "total", asked[at].total);
        put_answer(&line, &answer);
        tell(&line);
    }
    until(look_at(client, "made", &line) == 5, 8, usleep(50000));
    tell(&line);
    rd_kafka_destroy(client);
}

void alter_configs(void) {
    static const struct { const char *topic, *configs[6]; } asked[] = {
        {"made", {"retention.ms", "86400000", "max.message.bytes", "3000"}},
        {"made", {"nonsense", "1"}},
        {"made", {"retention.ms", "x"}},
        {"made", {"cleanup.policy", "shred"}},
        {"unknown", {"retention.ms", "1000"}},
    };
    rd_kafka_t *client = open_producer(NULL);
    struct line line = {0};
    for (size_t at = 0; at < sizeof asked / sizeof *asked; at++) {
        rd_kafka_ConfigResource_t *wanted = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name(asked[at].topic));
        for (const char *const *pair = asked[at].configs; *pair; pair += 2) rd_kafka_ConfigResource_set_config(wanted, pair[0], pair[1]);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
        rd_kafka_AlterConfigs(client, &wanted, 1, NULL, queue);
        rd_kafka_event_t *event = await(queue);
        struct answer answer = of_event(event);
        size_t count;
        const rd_kafka_ConfigResource_t **resources =
            rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &count);
        if (!answer.error) answer = answered(rd_kafka_ConfigResource_error(resources[0]), rd_kafka_ConfigResource_error_string(resources[0]));
        put_text(&line, "topic", asked[at].topic);
        put_text(&line, "value", asked[at].configs[1]);
        put_answer(&line, &answer);
        tell(&line);
        rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(queue);
        rd_kafka_ConfigResource_destroy(wanted);
    }
    /* A change shows a little later; this one takes away what is not named. */
    until((line.fields = 0, put_set_configs(&line, client, "made"), !has(&line, "cleanup.policy")), 8, usleep(50000));
    tell(&line);
    rd_kafka_destroy(client);
}

void delete_topics(void) {
    rd_kafka_t *client = open_producer(NULL);
    struct line line = {0};
    char names[64][256];
    struct answer answer = delete_topic(client, name("unknown"));
    put_answer(&line, &answer);
    tell(&line);
    int count = our_topics(client, names);
    for (int at = 0; at < count; at++) {
        answer = delete_topic(client, names[at]);
        put_text(&line, "topic", names[at]);
        put_answer(&line, &answer);
        tell(&line);
    }
    until((count = our_topics(client, names)) == 0, 8, usleep(50000));
    put_number(&line, "left", count);
    tell(&line);
    look_at(client, "made", &line);
    tell(&line);
    rd_kafka_destroy(client);
}
