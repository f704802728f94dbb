/*
 * sorted_model.h: the layout that is made for LZMA: its constants and its predictions, which sorted_pack.c and
 * sorted_unpack.c share.
 *
 * LZMA models bytes by what stands before them; it knows nothing of rows, channels or neighbours. So the order of
 * the bits does the modelling: each symbol is split into binary decisions (zero or not, sign, "larger than k?"), the
 * already known neighbours predict how large it will be, and every decision goes to the stream of its prediction.
 * Each stream then holds bits of nearly one probability, and LZMA's adaptive literals come close to their entropy.
 * The decoder walks the same way, makes the same predictions from what it has restored, and takes each decision from
 * the same stream.
 *
 * Specified in docs/format-symbols.md, section 3. Why this order: bits per pixel of the 24 Kodak pictures (latents of
 * a 64-channel network, 256 levels; in brackets 32 channels cut to 6 levels) after raw LZMA2, lc = 0, preset 0e, by
 * benchmarks/packing_orders.py:
 *
 *   bytes, position by position            0.875  (0.572)
 *   bytes, channel by channel              0.805  (0.557)   channels by energy 0.805, snake rows 0.808
 *   base-L digits, channel by channel      0.805  (0.494)   position by position (0.565)
 *   digits in an alphabet per channel      0.836  (0.506)
 *   bit planes                             0.755  (0.514)
 *   zero flags, signs, magnitude flags     0.740  (0.505)   channels by energy 0.738
 *   sorted by the channel's mean only      0.723  (0.501)
 *   sorted by neighbours and mean          0.704  (0.487)
 *   sorted by activity and mean            0.699  (0.487)
 *   sorted by all three                    0.682  (0.456)   this layout
 *     walked position by position          0.705  (0.493)   LZMA finds repeats within a channel that this breaks up
 *     walked row by row of all channels    0.696  (0.484)
 *     signs in one stream                  0.688  (0.480)
 *     without run lengths                  0.691  (0.479)   and three times the bytes for LZMA to look at
 *
 * (All bracketed "sorted" figures but 0.456 are of a model that writes flags which six levels do not need: compare
 * them with its 0.473.) Other weights, rates and class widths near these came within 0.5 % of them.
 */
#ifndef EDGECOMP_SORTED_MODEL_H
#define EDGECOMP_SORTED_MODEL_H

#include "highest_bit.h"
#include "pack_internal.h"

/*
 * The streams, in the order of the file: zero flags by class, signs by the signs beside them, "larger than k?" flags
 * by half as many classes, and what is left of large magnitudes.
 */
#define ZERO_CLASSES 48u
#define SIGN_CLASSES 9u
#define MORE_CLASSES 24u
#define SIGN_BASE ZERO_CLASSES
#define MORE_BASE (SIGN_BASE + SIGN_CLASSES)
#define REST_STREAM (MORE_BASE + MORE_CLASSES)
#define STREAMS (REST_STREAM + 1)

/* Zero flags of the classes below this one are rare (an expected magnitude below 1/4) and become run lengths. */
#define RUN_CLASSES 12u

/* A run length that only says that no flag follows yet. */
#define RUN_MAX 255u

/* Magnitudes up to this one are coded in unary; from it on a byte with the rest follows. */
#define UNARY_MAX 15u

/* The largest scale byte: a mean magnitude of 2^(144 / 8 - 10) = 256. */
#define MAX_SCALE 144u

/* Fixed point with 12 fractional bits. */
#define ONE 4096u

/* A scale byte h > 0 says that the mean magnitude of a channel is about 2^(h / 8 - 10). */
static inline uint32_t scale_mean(unsigned h)
{
    static const uint32_t eighths[8] = {256, 279, 304, 332, 362, 395, 431, 470};

    return (eighths[h & 7u] << (h >> 3)) >> 6;
}

static inline unsigned magnitude(uint8_t symbol, unsigned zero)
{
    return symbol >= zero ? symbol - zero : zero - symbol;
}

/* 0: below the zero symbol, 1: the zero symbol, 2: above. */
static inline unsigned trit(uint8_t symbol, unsigned zero)
{
    return 1u + (symbol > zero) - (symbol < zero);
}

/* What is known where a symbol stands: its neighbours in the same channel (outside the volume: zero symbols). */
struct neighbours {
    unsigned near_sum; /* magnitudes of left and upper */
    unsigned far_sum;  /* magnitudes of upper left, upper right, second left, second upper */
    unsigned signs;    /* 0 .. 8: trits of left and upper */
};

/* The general case, which asks at every step whether there is such a neighbour. */
static inline struct neighbours look_around_edge(const uint8_t *p, size_t width, size_t y, size_t x, unsigned zero)
{
    struct neighbours n = {0, 0, 0};
    unsigned left = 1, upper = 1;

    if (x > 0) {
        n.near_sum += magnitude(p[-1], zero);
        left = trit(p[-1], zero);
        if (x > 1) {
            n.far_sum += magnitude(p[-2], zero);
        }
    }
    if (y > 0) {
        const uint8_t *above = p - width;

        n.near_sum += magnitude(above[0], zero);
        upper = trit(above[0], zero);
        if (x > 0) {
            n.far_sum += magnitude(above[-1], zero);
        }
        if (x + 1 < width) {
            n.far_sum += magnitude(above[1], zero);
        }
        if (y > 1) {
            n.far_sum += magnitude(*(above - width), zero);
        }
    }
    n.signs = 3u * left + upper;
    return n;
}

static inline struct neighbours look_around(const uint8_t *p, size_t width, size_t y, size_t x, unsigned zero)
{
    struct neighbours n;
    const uint8_t *above;

    if (y < 2 || x < 2 || x + 1 >= width) {
        return look_around_edge(p, width, y, x, zero);
    }
    above = p - width;
    n.near_sum = magnitude(p[-1], zero) + magnitude(above[0], zero);
    n.far_sum = magnitude(p[-2], zero) + magnitude(above[-1], zero) + magnitude(above[1], zero) +
                magnitude(*(above - width), zero);
    n.signs = 3u * trit(p[-1], zero) + trit(above[0], zero);
    return n;
}

/* What is known of a channel from its scale byte. */
struct channel {
    uint32_t mean;   /* of its magnitudes, fixed point */
    uint32_t factor; /* ONE / (mean + 0.05), fixed point, for the activity */
};

static inline struct channel open_channel(unsigned scale)
{
    struct channel ch;

    ch.mean = scale_mean(scale);
    ch.factor = ONE * ONE / (ch.mean + 205u);
    return ch;
}

/*
 * The class of a symbol: four classes an octave of its expected magnitude, from 1/32 on. That is a weighted sum, in
 * sixteenths, of the neighbours' magnitudes and of the channel's mean times the activity. The terms are at most
 * 3 * 510 * 2^12, 1020 * 2^12, 11 * 2^25 * 2^20 / 2^12 and 2^11: t stays below 2^37.
 */
static inline unsigned classify(const struct neighbours *n, const struct channel *ch, uint32_t activity)
{
    const uint64_t usual = ((uint64_t)activity * ch->mean) / ONE;
    const uint64_t t = (uint64_t)(3u * n->near_sum + n->far_sum) * ONE + 11u * usual + (1u << 11);
    const unsigned e = highest_bit(t);
    const unsigned q = 4u * (e - 11u) + ((unsigned)(t >> (e - 2u)) & 3u);

    return q < ZERO_CLASSES ? q : ZERO_CLASSES - 1;
}

/*
 * The activity at a position: how large the channels before were there, each relative to its own mean; a running
 * average that starts at ONE. m <= 255 and factor <= 2^24 / 205, so a step adds less than 2^22 and takes away an
 * eighth: the activity stays below 2^25.
 */
static inline uint32_t update_activity(uint32_t activity, unsigned m, const struct channel *ch)
{
    return activity - (activity >> 3) + ((m * ch->factor) >> 3);
}

static inline void start_activity(const struct edgecomp_volume *v, uint32_t *activity)
{
    size_t i;

    for (i = 0; i < v->height * v->width; i++) {
        activity[i] = ONE;
    }
}

#endif
