/* pack_internal.h: what the files of this library share. Not installed, not public. */
#ifndef EDGECOMP_PACK_INTERNAL_H
#define EDGECOMP_PACK_INTERNAL_H

#include "edgecomp_native.h"

/* A volume's description. edgecomp_check_volume has checked it: levels and zero are in range, the product of the sizes
 * is at most EDGECOMP_MAX_SYMBOLS, every count is at most channels. */
struct edgecomp_volume {
    size_t channels;
    size_t height;
    size_t width;
    unsigned levels;
    unsigned zero;
    const uint8_t *counts; /* NULL: every position of every channel is coded */
};

/* How many channels are coded at one position of the plane. */
static inline size_t edgecomp_coded_channels(const struct edgecomp_volume *v, size_t position)
{
    return v->counts != NULL ? v->counts[position] : v->channels;
}

/* Checks everything about a volume but its symbols. *symbols: how many there are, *coded: how many are coded. */
int edgecomp_check_volume(const struct edgecomp_volume *v, size_t *symbols, size_t *coded);

/* Bodies of packed data, that is, without the layout byte. They return an enum edgecomp_status. */
size_t edgecomp_dense_size(size_t symbols, unsigned levels);
void edgecomp_dense_pack(const struct edgecomp_volume *v, const uint8_t *symbols, uint8_t *out);
int edgecomp_dense_unpack(const struct edgecomp_volume *v, const uint8_t *in, size_t in_len, uint8_t *symbols);

/* Packs when the body is at most `limit` bytes, else returns EDGECOMP_OUTPUT_TOO_SMALL. `activity` holds
 * height * width numbers of scratch, as it does for unpacking. */
int edgecomp_sorted_pack(const struct edgecomp_volume *v, const uint8_t *symbols, uint8_t *out, size_t limit,
                         size_t *out_len, uint32_t *activity);
int edgecomp_sorted_unpack(const struct edgecomp_volume *v, const uint8_t *in, size_t in_len, uint8_t *symbols,
                           uint32_t *activity);

#endif
