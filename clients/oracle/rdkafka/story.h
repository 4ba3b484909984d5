/* The frame of a story: steps in order, each in a process of its own with its own deadline, each observation one line of
 * JSON with its keys in order. Nothing that differs between two runs may be told. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "rdkafka.h"

#define BASE_TIME_MS 1700000000000LL /* of records that carry a time of their own */
#define MODERN (RD_KAFKA_VERSION >= 0x020000ff)

extern const char *bootstrap;

/* The name of a topic or group of this story; good until thirty-two more are asked for. */
const char *name(const char *last);
int is_ours(const char *name);

/* A growing text. */
struct text {
    char *at;
    size_t used, room;
};
void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void add_quoted(struct text *text, const void *bytes, size_t size);

/* An observation; what is put into it is copied. */
struct line {
    int fields;
    struct field {
        const char *key;
        char *value;
    } field[24];
};
void put_text(struct line *line, const char *key, const char *text); /* null for no text */
void put_bytes(struct line *line, const char *key, const void *bytes, size_t size); /* large ones by their digest */
void put_number(struct line *line, const char *key, int64_t number);
void put_flag(struct line *line, const char *key, int flag);
void put_error(struct line *line, rd_kafka_resp_err_t error);
void put_json(struct line *line, const char *key, struct text *json); /* takes the text */
int has(const struct line *line, const char *key);
void tell(struct line *line);

/* Lists of JSON. */
void begin(struct text *list);
void item(struct text *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
void end(struct text *list);

struct step {
    const char *name;
    void (*run)(void);
    int seconds;
};
int tell_story(int argc, char **argv, const struct step *steps, int count);

/* Ends the step with an error that the scenario does not expect. */
void unexpected(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

int64_t now_ms(void);

/* Repeats STEP until HOLDS or SECONDS have passed. */
#define until(holds, seconds, step)                                                  \
    for (int64_t end_ms_ = now_ms() + (seconds) * 1000; !(holds) && now_ms() < end_ms_;) { \
        step;                                                                        \
    }
