#include "clients.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"

static void configure(rd_kafka_conf_t *conf, const char *key, const char *value) {
    char why[256];
    if (rd_kafka_conf_set(conf, key, value, why, sizeof why) != RD_KAFKA_CONF_OK) unexpected("%s", why);
}

static void configure_all(rd_kafka_conf_t *conf, const char *key, va_list pairs) {
    for (; key; key = va_arg(pairs, const char *)) configure(conf, key, va_arg(pairs, const char *));
}

static rd_kafka_t *open_client(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
    char why[256];
    configure(conf, "bootstrap.servers", bootstrap);
    configure(conf, "log_level", "3");
    /* The old library looks after topics and groups whenever a timer wakes it, else once a second. */
    if (!MODERN) configure(conf, "statistics.interval.ms", "50");
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof why);
    if (!client) unexpected("%s", why);
    return client;
}

static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque) {
    (void)producer, (void)opaque;
    struct delivery *delivery = message->_private;
    *delivery = (struct delivery){message->err, message->offset, rd_kafka_message_timestamp(message, NULL), message->partition, 1};
}

rd_kafka_t *open_producer(const char *key, ...) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    configure(conf, "message.timeout.ms", "8000");
    configure(conf, "linger.ms", "20");
    va_list pairs;
    va_start(pairs, key);
    configure_all(conf, key, pairs);
    va_end(pairs);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    return open_client(RD_KAFKA_PRODUCER, conf);
}

rd_kafka_t *open_consumer(const char *group, const char *key, ...) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    configure(conf, "group.id", name(group));
    configure(conf, "auto.offset.reset", "earliest");
    configure(conf, "enable.auto.commit", "false");
    configure(conf, "heartbeat.interval.ms", "300");
    configure(conf, "fetch.wait.max.ms", "100");
    configure(conf, "topic.metadata.refresh.interval.ms", "1000");
    va_list pairs;
    va_start(pairs, key);
    configure_all(conf, key, pairs);
    va_end(pairs);
    rd_kafka_t *consumer = open_client(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(consumer);
    return consumer;
}

void close_consumer(rd_kafka_t *consumer) {
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
}

const void *noise(size_t size) {
    unsigned char *bytes = malloc(size);
    if (!bytes) abort();
    uint64_t state = 88172645463325252;
    for (size_t at = 0; at < size; at++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        bytes[at] = state >> 32;
    }
    return bytes;
}

int shapes(const struct record **records) {
    static struct record all[8];
    static char repeated[20000];
    memset(repeated, 'h', sizeof repeated);
    struct record made[8] = {
        {NULL, 0, "without a key", 13, 0, 0},
        {"", 0, "", 0, 0, 0},
        {"deleted", 7, NULL, 0, 0, 0},
        {"\0\xff\x80", 3, "\0\1\2\"\\\n\x7f\xff", 8, 0, 0},
        {"large", 5, noise(300000), 300000, 0, 0},
        {"repeated", 8, repeated, sizeof repeated, 0, 0},
        {"headed", 6, "with headers", 12, 0, 1},
        {"last", 4, "last", 4, 0, 0},
    };
    for (int at = 0; at < 8; at++) all[at] = made[at], all[at].timestamp_ms = BASE_TIME_MS + at;
    *records = all;
    return 8;
}

void send_record(rd_kafka_t *producer, const char *topic, int32_t partition, const struct record *record, struct delivery *delivery) {
    rd_kafka_headers_t *headers = NULL;
    *delivery = (struct delivery){0};
    if (record->has_headers) {
        headers = rd_kafka_headers_new(5);
        rd_kafka_header_add(headers, "name", -1, "value", -1);
        rd_kafka_header_add(headers, "name", -1, "again", -1);
        rd_kafka_header_add(headers, "empty", -1, "", 0);
        rd_kafka_header_add(headers, "none", -1, NULL, 0);
        rd_kafka_header_add(headers, "\xc3\xbc", -1, "\xff\0", 2);
    }
    rd_kafka_resp_err_t error = rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(name(topic)), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(record->key, record->key_size), RD_KAFKA_V_VALUE((void *)record->value, record->value_size),
        RD_KAFKA_V_TIMESTAMP(record->timestamp_ms), RD_KAFKA_V_OPAQUE(delivery), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    if (error) *delivery = (struct delivery){error, -1, -1, partition, 1};
}

void send_value(rd_kafka_t *producer, const char *topic, int32_t partition, const char *value, int64_t time_ms, struct delivery *delivery) {
    struct record record = {NULL, 0, value, strlen(value), BASE_TIME_MS + time_ms, 0};
    send_record(producer, topic, partition, &record, delivery);
}

void await_deliveries(rd_kafka_t *producer, struct delivery *deliveries, int count) {
    rd_kafka_flush(producer, 10000);
    for (int at = 0; at < count; at++)
        if (!deliveries[at].done) unexpected("record %d has no delivery report", at);
}

void put_offsets(struct line *line, const char *key, const struct delivery *deliveries, int count) {
    struct text list = {0};
    begin(&list);
    for (int at = 0; at < count; at++) {
        if (deliveries[at].error) item(&list, "\"%s\"", rd_kafka_err2name(deliveries[at].error));
        else item(&list, "%lld", (long long)deliveries[at].offset);
    }
    end(&list);
    put_json(line, key, &list);
}

void assign(rd_kafka_t *consumer, const char *topic, int first, int count, int64_t offset) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int at = first; at < first + count; at++) rd_kafka_topic_partition_list_add(list, name(topic), at)->offset = offset;
    rd_kafka_resp_err_t error = rd_kafka_assign(consumer, list);
    if (error) unexpected("assign: %s", rd_kafka_err2name(error));
    rd_kafka_topic_partition_list_destroy(list);
}

static int by_place(const void *one, const void *other) {
    const rd_kafka_message_t *a = *(rd_kafka_message_t *const *)one, *b = *(rd_kafka_message_t *const *)other;
    int order = strcmp(rd_kafka_topic_name(a->rkt), rd_kafka_topic_name(b->rkt));
    if (order) return order;
    if (a->partition != b->partition) return a->partition - b->partition;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

struct reading read_records(rd_kafka_t *consumer, int wanted, int seconds) {
    struct reading reading = {0};
    until(reading.count >= wanted || reading.error, seconds, {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 100);
        if (!message) continue;
        if (!message->err) reading.message[reading.count++] = message;
        else {
            /* What a client only remarks on while it goes on by itself is no end. */
            int ends = message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
#if MODERN
            ends |= message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET;
#endif
            if (ends) reading.error = message->err;
            else fprintf(stderr, "%s\n", rd_kafka_message_errstr(message));
            rd_kafka_message_destroy(message);
        }
    });
    qsort(reading.message, reading.count, sizeof *reading.message, by_place);
    return reading;
}

void forget(struct reading *reading) {
    while (reading->count) rd_kafka_message_destroy(reading->message[--reading->count]);
}

void put_read(struct line *line, const char *key, struct reading *reading) {
    struct text list = {0};
    begin(&list);
    for (int at = 0; at < reading->count; at++) item(&list, "%lld", (long long)reading->message[at]->offset);
    end(&list);
    put_json(line, key, &list);
    forget(reading);
}

int64_t end_of(rd_kafka_t *client, const char *topic, int32_t partition) {
    int64_t low, high;
    rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(client, name(topic), partition, &low, &high, 1000);
    return error ? -1 : high;
}

void make(const char *topic, int partitions, const char *key, ...) {
    const char *configs[16] = {"retention.ms", "-1"}; /* records keep a time long past */
    int used = 2;
    va_list pairs;
    va_start(pairs, key);
    for (; key; key = va_arg(pairs, const char *)) configs[used++] = key, configs[used++] = va_arg(pairs, const char *);
    va_end(pairs);
    rd_kafka_t *client = open_producer(NULL);
    struct answer answer = create_topic(client, topic, partitions, 1, configs, 0);
    if (answer.error) unexpected("%s was not made: %s", topic, answer.message);
    for (int at = 0; at < partitions; at++) until(end_of(client, topic, at) >= 0, 8, usleep(50000));
    rd_kafka_destroy(client);
}
