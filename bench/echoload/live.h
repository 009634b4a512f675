/*
 * The line that shows how a run is going. Main thread.
 */
#ifndef ECHOLOAD_LIVE_H
#define ECHOLOAD_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "load.h"

/* Clears the line, for anyone else who writes to the terminal. */
#define LIVE_CLEAR "\r\033[K"

enum live_phase { LIVE_OPENING, LIVE_WARMUP, LIVE_MEASURING, LIVE_ENDING };

struct live {
	const struct options *options;
	bool shown; /* stderr is a terminal, without --quiet */
	enum live_phase phase;
	uint64_t until_ns; /* the end of the phase; 0: not known */
	uint64_t last_ns;  /* when the line was written last */
	uint64_t echoes;   /* counted until then */
};

void live_init(struct live *live, const struct options *o);

/* Sets what the run does now, and until when; 0: not known. */
void live_phase(struct live *live, enum live_phase phase, uint64_t until_ns);

/* When the line is to be written next; UINT64_MAX: never. */
uint64_t live_next_ns(const struct live *live);

/* Writes the line if it is due. */
void live_show(struct live *live, struct load *const *loads, uint32_t count, uint64_t now_ns);

/* Clears the line. */
void live_end(struct live *live);

#endif
