/* Requests of an administrator, one at a time and waited for. */
#pragma once

#include "story.h"

struct answer {
    rd_kafka_resp_err_t error;
    char message[512];
};
void put_answer(struct line *line, const struct answer *answer);

/* Pairs of configuration keys and values end with NULL. */
struct answer create_topic(rd_kafka_t *client, const char *topic, int partitions, int replication, const char **configs, int validate_only);
struct answer delete_topic(rd_kafka_t *client, const char *whole_name);

/* Waits for the result of a request that was sent with the queue. */
rd_kafka_event_t *await(rd_kafka_queue_t *queue);
struct answer of_event(rd_kafka_event_t *event);
struct answer of_topic(const rd_kafka_topic_result_t *result);

/* The configurations that were set on a topic. */
void put_set_configs(struct line *line, rd_kafka_t *client, const char *topic);

void cluster(void);
void create_topics(void);
void describe_topics(void);
void add_partitions(void);
void alter_configs(void);
void delete_topics(void);
