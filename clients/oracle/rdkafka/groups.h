/* What administrators do to groups. */
#pragma once

#include "story.h"

void delete_group(rd_kafka_t *client, const char *group);
