#include "story.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *bootstrap;
static const char *prefix, *current;

const char *name(const char *last) {
    static char names[32][256];
    static unsigned next;
    char *made = names[next++ % 32];
    snprintf(made, sizeof names[0], "%s-%s", prefix, last);
    return made;
}

int is_ours(const char *name) { return strncmp(name, prefix, strlen(prefix)) == 0; }

int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void add_all(struct text *text, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    size_t size = (size_t)vsnprintf(NULL, 0, format, arguments);
    if (text->used + size + 1 > text->room) {
        text->room = 2 * (text->used + size + 1);
        text->at = realloc(text->at, text->room);
        if (!text->at) abort();
    }
    vsnprintf(text->at + text->used, size + 1, format, again);
    text->used += size;
    va_end(again);
}

void add(struct text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add_all(text, format, arguments);
    va_end(arguments);
}

void add_quoted(struct text *text, const void *bytes, size_t size) {
    add(text, "\"");
    for (const unsigned char *at = bytes; size--; at++) {
        if (*at == '"' || *at == '\\') add(text, "\\%c", *at);
        else if (*at < ' ' || *at > '~') add(text, "\\u%04x", *at);
        else add(text, "%c", *at);
    }
    add(text, "\"");
}

void put_json(struct line *line, const char *key, struct text *json) {
    if (line->fields == sizeof line->field / sizeof *line->field) abort();
    line->field[line->fields++] = (struct field){key, json->at};
    *json = (struct text){0};
}

void put_text(struct line *line, const char *key, const char *said) {
    struct text text = {0};
    if (said) add_quoted(&text, said, strlen(said));
    else add(&text, "null");
    put_json(line, key, &text);
}

void put_bytes(struct line *line, const char *key, const void *bytes, size_t size) {
    struct text text = {0};
    if (!bytes) add(&text, "null");
    else if (size <= 64) add_quoted(&text, bytes, size);
    else {
        uint64_t digest = 0xcbf29ce484222325; /* FNV-1a */
        for (size_t at = 0; at < size; at++) digest = (digest ^ ((const unsigned char *)bytes)[at]) * 0x100000001b3;
        add(&text, "\"%zu bytes, FNV %016llx\"", size, (unsigned long long)digest);
    }
    put_json(line, key, &text);
}

void put_number(struct line *line, const char *key, int64_t number) {
    struct text text = {0};
    add(&text, "%lld", (long long)number);
    put_json(line, key, &text);
}

void put_flag(struct line *line, const char *key, int flag) {
    struct text text = {0};
    add(&text, flag ? "true" : "false");
    put_json(line, key, &text);
}

void put_error(struct line *line, rd_kafka_resp_err_t error) {
    put_text(line, "error", error ? rd_kafka_err2name(error) : NULL);
}

void begin(struct text *list) { add(list, "["); }

void item(struct text *list, const char *format, ...) {
    if (list->at[list->used - 1] != '[') add(list, ", ");
    va_list arguments;
    va_start(arguments, format);
    add_all(list, format, arguments);
    va_end(arguments);
}

void end(struct text *list) { add(list, "]"); }

static int by_key(const void *one, const void *other) {
    return strcmp(((const struct field *)one)->key, ((const struct field *)other)->key);
}

int has(const struct line *line, const char *key) {
    for (int at = 0; at < line->fields; at++)
        if (!strcmp(line->field[at].key, key)) return 1;
    return 0;
}

void tell(struct line *line) {
    put_text(line, "step", current);
    qsort(line->field, line->fields, sizeof *line->field, by_key);
    for (int at = 0; at < line->fields; at++) {
        printf("%s\"%s\": %s", at ? ", " : "{", line->field[at].key, line->field[at].value);
        free(line->field[at].value);
    }
    puts("}");
    fflush(stdout);
    line->fields = 0;
}

void unexpected(const char *format, ...) {
    struct text text = {0};
    va_list arguments;
    va_start(arguments, format);
    add_all(&text, format, arguments);
    va_end(arguments);
    struct line line = {0};
    put_text(&line, "unexpected", text.at);
    tell(&line);
    _exit(0);
}

/* Runs one step. A process of its own leaves nothing behind when it is cut off. */
static void perform(const struct step *step) {
    int64_t began = now_ms();
    current = step->name;
    pid_t child = fork();
    if (child == 0) {
        step->run();
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    pid_t ended = child < 0 ? -1 : 0;
    until(ended, step->seconds, { ended = waitpid(child, &status, WNOHANG); if (!ended) usleep(5000); });
    struct line line = {0};
    if (!ended) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        put_text(&line, "unexpected", "timeout");
        tell(&line);
    } else if (ended < 0 || !WIFEXITED(status) || WEXITSTATUS(status)) {
        put_text(&line, "unexpected", ended < 0 ? "no process" : WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit");
        tell(&line);
    }
    fprintf(stderr, "%s: %.2f s\n", step->name, (now_ms() - began) / 1000.0);
}

int tell_story(int argc, char **argv, const struct step *steps, int count) {
    for (int at = 1; at + 1 < argc; at += 2) {
        if (!strcmp(argv[at], "--bootstrap")) bootstrap = argv[at + 1];
        if (!strcmp(argv[at], "--prefix")) prefix = argv[at + 1];
    }
    if (!bootstrap || !prefix) {
        fprintf(stderr, "usage: %s --bootstrap HOST:PORT --prefix P\n", argv[0]);
        return 2;
    }
    for (int at = 0; at < count; at++) perform(&steps[at]);
    return 0;
}
