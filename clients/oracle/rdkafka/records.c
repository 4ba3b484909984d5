/* Records of every shape, written with every codec and every kind of acknowledgement, and read again. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients.h"
#include "steps.h"

static const char *const all_acks[] = {"0", "1", "all"}; /* the number of the partition that each writes to */

static void produce(const char *codec) {
    make(codec, 3, NULL);
    const struct record *records;
    int count = shapes(&records);
    for (int partition = 0; partition < 3; partition++) {
        struct delivery deliveries[8];
        rd_kafka_t *producer = open_producer("compression.codec", codec, "acks", all_acks[partition], NULL);
        for (int at = 0; at < count; at++) send_record(producer, codec, partition, &records[at], &deliveries[at]);
        await_deliveries(producer, deliveries, count);
        int64_t high = 0;
        until((high = end_of(producer, codec, partition)) == count, 8, usleep(50000));
        struct line line = {0};
        put_text(&line, "codec", codec);
        put_text(&line, "acks", all_acks[partition]);
        put_number(&line, "end", high);
        if (partition) put_offsets(&line, "offsets", deliveries, count);
        tell(&line);
        rd_kafka_destroy(producer);
    }
}

static void put_headers(struct line *line, const rd_kafka_message_t *message) {
    struct text list = {0};
    rd_kafka_headers_t *headers;
    const char *key;
    const void *value;
    size_t size;
    begin(&list);
    if (!rd_kafka_message_headers(message, &headers))
        for (size_t at = 0; !rd_kafka_header_get_all(headers, at, &key, &value, &size); at++) {
            item(&list, "[");
            add_quoted(&list, key, strlen(key));
            add(&list, ", ");
            if (value) add_quoted(&list, value, size);
            else add(&list, "null");
            end(&list);
        }
    end(&list);
    put_json(line, "headers", &list);
}

void consume(void) {
    static const char *const codecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};
    rd_kafka_t *consumer = open_consumer("assigned", NULL);
    rd_kafka_topic_partition_list_t *everything = rd_kafka_topic_partition_list_new(15);
    for (int at = 0; at < 15; at++)
        rd_kafka_topic_partition_list_add(everything, name(codecs[at / 3]), at % 3)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(consumer, everything);
    rd_kafka_topic_partition_list_destroy(everything);
    struct reading reading = read_records(consumer, 15 * 8, 10);
    struct line line = {0};
    for (int at = 0; at < reading.count; at++) {
        const rd_kafka_message_t *message = reading.message[at];
        rd_kafka_timestamp_type_t type;
        put_text(&line, "topic", rd_kafka_topic_name(message->rkt));
        put_number(&line, "partition", message->partition);
        put_number(&line, "offset", message->offset);
        put_bytes(&line, "key", message->key, message->key_len);
        put_bytes(&line, "value", message->payload, message->len);
        put_number(&line, "timestamp", rd_kafka_message_timestamp(message, &type));
        put_number(&line, "timestamp type", type);
        put_headers(&line, message);
        tell(&line);
    }
    forget(&reading);
    close_consumer(consumer);
}

void produce_none(void) { produce("none"); }
void produce_gzip(void) { produce("gzip"); }
void produce_snappy(void) { produce("snappy"); }
void produce_lz4(void) { produce("lz4"); }
void produce_zstd(void) { produce("zstd"); }

/* A record larger than what is asked for comes all the same. */
void small_fetches(void) {
    rd_kafka_t *consumer = open_consumer("assigned", "fetch.message.max.bytes", "1000", NULL);
    assign(consumer, "none", 1, 1, RD_KAFKA_OFFSET_BEGINNING);
    struct reading reading = read_records(consumer, 8, 8);
    struct line line = {0};
    put_read(&line, "offsets", &reading);
    tell(&line);
    close_consumer(consumer);
}

/* A broker's first answer to who asks for a producer id may be to come again, which 1.2.2 does too late for its records. */
static void ask_for_an_id(void) {
    struct delivery delivery;
    rd_kafka_t *producer = open_producer("enable.idempotence", "true", "message.timeout.ms", "3000", NULL);
    send_value(producer, "made-for-ids", 0, "v", 0, &delivery);
    rd_kafka_flush(producer, 5000);
    rd_kafka_destroy(producer);
}

void produce_idempotently(void) {
    make("idempotent", 2, NULL);
    make("made-for-ids", 1, NULL);
    ask_for_an_id();
    rd_kafka_t *producer = open_producer("enable.idempotence", "true", "compression.codec", "lz4", NULL);
    struct line line = {0};
    for (int round = 0; round < 3; round++) {
        struct delivery deliveries[50];
        for (int at = 0; at < 50; at++) send_value(producer, "idempotent", round % 2, "v", at, &deliveries[at]);
        await_deliveries(producer, deliveries, 50);
        put_number(&line, "partition", round % 2);
        put_offsets(&line, "offsets", deliveries, 50);
        tell(&line);
    }
    rd_kafka_destroy(producer);
}

void produce_too_much(void) {
    static const struct {
        const char *codec, *topic;
        size_t size;
        int noisy;
    } asked[] = {
        {"none", "made-by-default", 1200000, 1}, {"gzip", "made-by-default", 1200000, 0}, {"none", "small", 2000, 1},
        {"gzip", "small", 2000, 0},              {"none", "small", 900, 1},
    };
    make("small", 1, "max.message.bytes", "1000", NULL);
    make("made-by-default", 1, NULL);
    struct line line = {0};
    for (size_t at = 0; at < sizeof asked / sizeof *asked; at++) {
        rd_kafka_t *producer = open_producer("compression.codec", asked[at].codec, "message.max.bytes", "5000000", NULL);
        void *zeros = calloc(1, asked[at].size);
        struct record record = {NULL, 0, asked[at].noisy ? noise(asked[at].size) : zeros, asked[at].size, BASE_TIME_MS, 0};
        struct delivery delivery;
        send_record(producer, asked[at].topic, 0, &record, &delivery);
        await_deliveries(producer, &delivery, 1);
        put_text(&line, "codec", asked[at].codec);
        put_text(&line, "topic", asked[at].topic);
        put_number(&line, "bytes", asked[at].size);
        put_offsets(&line, "told", &delivery, 1);
        tell(&line);
        rd_kafka_destroy(producer);
    }
}

void produce_by_key(void) {
    static const char *const keys[] = {"", "a", "b", "headwater"};
    make("keyed", 5, NULL);
    struct line line = {0};
    for (int way = 0; way < 2; way++) {
        rd_kafka_t *producer = open_producer("partitioner", way ? "murmur2" : "consistent", NULL);
        for (size_t at = 0; at < sizeof keys / sizeof *keys; at++) {
            struct record record = {keys[at], strlen(keys[at]), "v", 1, BASE_TIME_MS, 0};
            struct delivery delivery;
            send_record(producer, "keyed", RD_KAFKA_PARTITION_UA, &record, &delivery);
            await_deliveries(producer, &delivery, 1);
            put_text(&line, "key", keys[at]);
            put_number(&line, "partition", delivery.partition);
            put_offsets(&line, "told", &delivery, 1);
            tell(&line);
        }
        rd_kafka_destroy(producer);
    }
}

void time_of_appending(void) {
    make("append-time", 1, "message.timestamp.type", "LogAppendTime", NULL);
    rd_kafka_t *producer = open_producer(NULL);
    struct delivery delivery;
    send_value(producer, "append-time", 0, "v", 0, &delivery);
    await_deliveries(producer, &delivery, 1);
    rd_kafka_destroy(producer);
    rd_kafka_t *consumer = open_consumer("assigned", NULL);
    assign(consumer, "append-time", 0, 1, RD_KAFKA_OFFSET_BEGINNING);
    struct reading reading = read_records(consumer, 1, 8);
    struct line line = {0};
    for (int at = 0; at < reading.count; at++) {
        rd_kafka_timestamp_type_t type;
        int64_t timestamp_ms = rd_kafka_message_timestamp(reading.message[at], &type);
        put_number(&line, "timestamp type", type);
        put_flag(&line, "later than sent", timestamp_ms > BASE_TIME_MS + 1000);
        tell(&line);
    }
    forget(&reading);
    close_consumer(consumer);
}

void create_by_producing(void) {
    rd_kafka_t *producer = open_producer(NULL);
    struct delivery deliveries[2];
    struct line line = {0};
    send_value(producer, "unheard-of", 0, "v", 0, &deliveries[0]);
    send_value(producer, "not/a/topic", 0, "v", 0, &deliveries[1]);
    await_deliveries(producer, deliveries, 2);
    put_offsets(&line, "told", deliveries, 2);
    tell(&line);
    rd_kafka_destroy(producer);
}
