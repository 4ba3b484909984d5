/* The steps, each in the file of its subject. */
#pragma once

void produce_none(void), produce_gzip(void), produce_snappy(void), produce_lz4(void), produce_zstd(void);
void consume(void);
void small_fetches(void), produce_idempotently(void), produce_too_much(void), produce_by_key(void);
void time_of_appending(void), create_by_producing(void);
void fill_times(void), offsets_by_time(void), seek(void), seek_out_of_range(void);
void fill_groups(void), commit_and_go_on(void), share_by_range(void), share_by_roundrobin(void), share_cooperatively(void);
void subscribe_by_pattern(void), static_members(void), groups(void);
void administer_groups(void), alter_by_operation(void), list_offsets(void), delete_records(void);
