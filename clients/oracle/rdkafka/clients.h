/* Clients as the steps use them: made, read from, written with. */
#pragma once

#include "story.h"

/* Pairs of configuration keys and values end with NULL. */
rd_kafka_t *open_producer(const char *key, ...);
rd_kafka_t *open_consumer(const char *group, const char *key, ...);
void close_consumer(rd_kafka_t *consumer);

struct record {
    const void *key;
    size_t key_size;
    const void *value;
    size_t value_size;
    int64_t timestamp_ms;
    int has_headers;
};

/* What came of sending; the producer's delivery reports fill it. */
struct delivery {
    rd_kafka_resp_err_t error;
    int64_t offset, timestamp_ms;
    int32_t partition;
    int done;
};

void send_record(rd_kafka_t *producer, const char *topic, int32_t partition, const struct record *record, struct delivery *delivery);
void send_value(rd_kafka_t *producer, const char *topic, int32_t partition, const char *value, int64_t time_ms, struct delivery *delivery);
void await_deliveries(rd_kafka_t *producer, struct delivery *deliveries, int count);
void put_offsets(struct line *line, const char *key, const struct delivery *deliveries, int count);

/* The shapes of records that every codec sends. */
int shapes(const struct record **records);
const void *noise(size_t size);

void assign(rd_kafka_t *consumer, const char *topic, int first, int count, int64_t offset);

/* Reads until so many came, sorted by topic, partition and offset. */
struct reading {
    int count;
    rd_kafka_message_t *message[512];
    rd_kafka_resp_err_t error; /* of the consumer, which ends the reading */
};
struct reading read_records(rd_kafka_t *consumer, int wanted, int seconds);
void put_read(struct line *line, const char *key, struct reading *reading); /* offsets; ends with the messages */
void forget(struct reading *reading);

/* A topic for a step of its own, once each partition's leader answers; more of its configuration ends with NULL. */
void make(const char *topic, int partitions, const char *key, ...);
int64_t end_of(rd_kafka_t *client, const char *topic, int32_t partition);
