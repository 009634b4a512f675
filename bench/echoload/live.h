/*
 * The line that tells how a run is going, while it is. Main thread.
 */
#ifndef ECHOLOAD_LIVE_H
#define ECHOLOAD_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "load.h"

/* Back to the start of the line, and clear it: for whoever else writes to the terminal. */
#define LIVE_CLEAR "\r\033[K"

enum live_phase { LIVE_OPENING, LIVE_WARMUP, LIVE_MEASURING, LIVE_ENDING };

struct live {
	const struct options *options;
	bool shown; /* stderr is a terminal, and nobody asked for quiet */
	enum live_phase phase;
	uint64_t until_ns; /* the end of the phase, where it is known */
	uint64_t last_ns;  /* when the line was written last */
	uint64_t echoes;   /* counted until then */
};

void live_init(struct live *live, const struct options *o);

/* Says what the run does now, and until when; 0: not known. */
void live_phase(struct live *live, enum live_phase phase, uint64_t until_ns);

/* When the line is to be written next; UINT64_MAX: never. */
uint64_t live_next_ns(const struct live *live);

/* Writes the line if it is time to. */
void live_show(struct live *live, struct load *const *loads, uint32_t count, uint64_t now_ns);

/* Takes the line away. */
void live_end(struct live *live);

#endif
