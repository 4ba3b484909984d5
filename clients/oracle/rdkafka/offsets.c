/* Places in a log: by time, by name, and outside of it. */
#include <unistd.h>

#include "clients.h"
#include "steps.h"

static const int times[] = {0, 100, 100, 400, 300, 500}; /* of the records of each partition, not all in order */
#define TIMES 6

void fill_times(void) {
    make("times", 3, NULL);
    struct delivery deliveries[TIMES];
    rd_kafka_t *producer = open_producer(NULL);
    for (int at = 0; at < TIMES; at++) { /* a batch each */
        send_value(producer, "times", 0, "v", times[at], &deliveries[at]);
        await_deliveries(producer, &deliveries[at], 1);
    }
    rd_kafka_destroy(producer);
    struct line line = {0};
    put_offsets(&line, "one by one", deliveries, TIMES);
    producer = open_producer("linger.ms", "500", "compression.codec", "gzip", NULL);
    for (int at = 0; at < TIMES; at++) send_value(producer, "times", 1, "v", times[at], &deliveries[at]); /* one batch */
    await_deliveries(producer, deliveries, TIMES);
    put_offsets(&line, "together", deliveries, TIMES);
    tell(&line);
    rd_kafka_destroy(producer);
}

void offsets_by_time(void) {
    static const int asked[] = {-1000, 0, 50, 100, 250, 350, 450, 500, 501};
    rd_kafka_t *consumer = open_consumer("assigned", NULL);
    struct line line = {0};
    for (int partition = 0; partition < 3; partition++) {
        int64_t low = -1, high = -1;
        rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(consumer, name("times"), partition, &low, &high, 5000);
        put_number(&line, "partition", partition);
        put_error(&line, error);
        put_number(&line, "low", low);
        put_number(&line, "high", high);
        tell(&line);
    }
    for (size_t at = 0; at < sizeof asked / sizeof *asked; at++) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(3);
        for (int partition = 0; partition < 3; partition++)
            rd_kafka_topic_partition_list_add(list, name("times"), partition)->offset = BASE_TIME_MS + asked[at];
        rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(consumer, list, 5000);
        struct text found = {0};
        begin(&found);
        for (int partition = 0; partition < 3; partition++) item(&found, "%lld", (long long)list->elems[partition].offset);
        end(&found);
        put_number(&line, "time", asked[at]);
        put_error(&line, error);
        put_json(&line, "found", &found);
        tell(&line);
        rd_kafka_topic_partition_list_destroy(list);
    }
    close_consumer(consumer);
}

void seek(void) {
    static const int64_t places[] = {3, RD_KAFKA_OFFSET_BEGINNING, RD_KAFKA_OFFSET_TAIL(2)};
    rd_kafka_t *consumer = open_consumer("assigned", NULL);
    assign(consumer, "none", 1, 1, RD_KAFKA_OFFSET_BEGINNING);
    struct reading reading = read_records(consumer, 8, 8);
    struct line line = {0};
    put_read(&line, "read", &reading);
    tell(&line);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, name("none"), NULL);
    for (size_t at = 0; at < sizeof places / sizeof *places; at++) {
        put_error(&line, rd_kafka_seek(topic, 1, places[at], 5000));
        reading = read_records(consumer, 1, 5);
        put_read(&line, "read", &reading);
        tell(&line);
    }
    rd_kafka_topic_destroy(topic);
    close_consumer(consumer);
}

void seek_out_of_range(void) {
    static const char *const resets[] = {"earliest", "latest", "error"};
    struct line line = {0};
    for (size_t at = 0; at < sizeof resets / sizeof *resets; at++) {
        rd_kafka_t *consumer = open_consumer("assigned", "auto.offset.reset", resets[at], NULL);
        assign(consumer, "none", 1, 1, 1000);
        struct reading reading = read_records(consumer, 1, at == 1 ? 1 : 5);
        put_text(&line, "reset", resets[at]);
        put_error(&line, reading.error);
        put_read(&line, "read", &reading);
        tell(&line);
        close_consumer(consumer);
    }
}
