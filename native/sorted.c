/*
 * sorted.c: the layout that is made for LZMA.
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
 * (The indented rows in brackets are of a model that cannot leave out flags which six levels do not need: to be
 * compared with 0.473.) The weights, the rates and the class widths were varied by half and double: all within 0.5 %.
 */
#include "pack_internal.h"

#include <string.h>

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
static uint32_t scale_mean(unsigned h)
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
static struct neighbours look_around_edge(const uint8_t *p, size_t width, size_t y, size_t x, unsigned zero)
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

static struct channel open_channel(unsigned scale)
{
    struct channel ch;

    ch.mean = scale_mean(scale);
    ch.factor = ONE * ONE / (ch.mean + 205u);
    return ch;
}

static inline unsigned floor_log2(uint64_t value)
{
#if defined(__GNUC__)
    return 63u - (unsigned)__builtin_clzll(value);
#else
    unsigned e = 0, step;

    for (step = 32; step != 0; step /= 2) {
        if (value >> step != 0) {
            value >>= step;
            e += step;
        }
    }
    return e;
#endif
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
    const unsigned e = floor_log2(t);
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

static void start_activity(const struct edgecomp_volume *v, uint32_t *activity)
{
    size_t i;

    for (i = 0; i < v->height * v->width; i++) {
        activity[i] = ONE;
    }
}

/* ---- packing ---- */

struct writer {
    uint8_t *bytes; /* NULL while counting */
    size_t used;
    unsigned pending; /* bits of an unfinished byte, or the zeros since the last one */
    unsigned filled;  /* how many bits that is */
};

static inline void put_byte(struct writer *w, unsigned byte)
{
    if (w->bytes != NULL) {
        w->bytes[w->used] = (uint8_t)byte;
    }
    w->used++;
}

static inline void put_bit(struct writer *w, unsigned bit)
{
    w->pending |= bit << w->filled;
    if (++w->filled == 8) {
        put_byte(w, w->pending);
        w->pending = 0;
        w->filled = 0;
    }
}

static inline void put_run_bit(struct writer *w, unsigned bit)
{
    w->pending += 1u - bit;
    if (bit != 0 || w->pending == RUN_MAX) {
        put_byte(w, w->pending);
        w->pending = 0;
    }
}

static void finish_writers(struct writer *w)
{
    unsigned i;

    for (i = 0; i < STREAMS; i++) {
        if (i < RUN_CLASSES ? w[i].pending != 0 : w[i].filled != 0) {
            put_byte(&w[i], w[i].pending);
        }
    }
}

static inline void put_symbol(struct writer *w, const struct edgecomp_volume *v, const struct neighbours *n, unsigned q,
                       uint8_t symbol)
{
    const unsigned m = magnitude(symbol, v->zero);
    const unsigned below = v->zero, above = v->levels - 1 - v->zero;
    const int negative = symbol < v->zero;
    const unsigned most = negative ? below : above;
    unsigned k;

    if (q < RUN_CLASSES) {
        put_run_bit(&w[q], m != 0);
    } else {
        put_bit(&w[q], m != 0);
    }
    if (m == 0) {
        return;
    }
    if (below != 0 && above != 0) {
        put_bit(&w[SIGN_BASE + n->signs], negative ? 1u : 0u);
    }
    for (k = 1; k < most && k < UNARY_MAX; k++) {
        put_bit(&w[MORE_BASE + q / 2], m > k);
        if (m == k) {
            return;
        }
    }
    if (most > UNARY_MAX) {
        put_byte(&w[REST_STREAM], m - UNARY_MAX);
    }
}

static void walk(struct writer *w, const struct edgecomp_volume *v, const uint8_t *symbols, const uint8_t *scales,
                 uint32_t *activity)
{
    size_t c, y, x;

    start_activity(v, activity);
    for (c = 0; c < v->channels; c++) {
        const struct channel ch = open_channel(scales[c]);
        const uint8_t *p = symbols + c * v->height * v->width;
        size_t i = 0;

        if (scales[c] == 0) {
            continue;
        }
        for (y = 0; y < v->height; y++) {
            for (x = 0; x < v->width; x++, i++) {
                struct neighbours n;

                if (c >= edgecomp_coded_channels(v, i)) {
                    continue;
                }
                n = look_around(p + i, v->width, y, x, v->zero);
                put_symbol(w, v, &n, classify(&n, &ch, activity[i]), p[i]);
                activity[i] = update_activity(activity[i], magnitude(p[i], v->zero), &ch);
            }
        }
    }
    finish_writers(w);
}

/* The scale byte of a channel: 0 when it is all zero symbols, else the first scale at or above its mean. */
static uint8_t choose_scale(const struct edgecomp_volume *v, const uint8_t *symbols, size_t c)
{
    const size_t plane = v->height * v->width;
    uint64_t sum = 0, coded = 0, mean;
    unsigned h = 1;
    size_t i;

    for (i = 0; i < plane; i++) {
        if (c < edgecomp_coded_channels(v, i)) {
            sum += magnitude(symbols[c * plane + i], v->zero);
            coded++;
        }
    }
    if (sum == 0) {
        return 0;
    }
    mean = sum * ONE / coded;
    while (h < MAX_SCALE && scale_mean(h) < mean) {
        h++;
    }
    return (uint8_t)h;
}

static size_t varint_size(uint64_t value)
{
    size_t size = 1;

    while (value >= 128) {
        value >>= 7;
        size++;
    }
    return size;
}

static uint8_t *put_varint(uint8_t *out, uint64_t value)
{
    while (value >= 128) {
        *out++ = (uint8_t)(value | 128u);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}

int edgecomp_sorted_pack(const struct edgecomp_volume *v, const uint8_t *symbols, uint8_t *out, size_t limit,
                         size_t *out_len, uint32_t *activity)
{
    const size_t plane = v->height * v->width;
    struct writer w[STREAMS];
    uint8_t *at = out + v->channels;
    uint64_t size = v->channels;
    size_t used[STREAMS], c;
    unsigned i;

    *out_len = 0;
    if (limit < STREAMS || v->channels > limit - STREAMS) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    for (c = 0; c < v->channels; c++) {
        out[c] = plane == 0 ? 0 : choose_scale(v, symbols, c);
    }
    memset(w, 0, sizeof w);
    walk(w, v, symbols, out, activity);
    for (i = 0; i < STREAMS; i++) {
        used[i] = w[i].used;
        size += varint_size(used[i]) + (uint64_t)used[i];
    }
    if (size > limit) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    for (i = 0; i < STREAMS; i++) {
        at = put_varint(at, used[i]);
    }
    memset(w, 0, sizeof w);
    for (i = 0; i < STREAMS; i++) {
        w[i].bytes = at;
        at += used[i];
    }
    walk(w, v, symbols, out, activity);
    *out_len = (size_t)size;
    return EDGECOMP_OK;
}

/* ---- unpacking ---- */

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    unsigned pending; /* bits not yet taken, or the zeros before the next one */
    unsigned filled;  /* how many bits that is, or whether a one follows the zeros */
};

/* The next byte; at the end, 0 and *failed. */
static inline unsigned get_byte(struct reader *r, int *failed)
{
    if (r->at == r->end) {
        *failed = 1;
        return 0;
    }
    return *r->at++;
}

static inline unsigned get_bit(struct reader *r, int *failed)
{
    unsigned bit;

    if (r->filled == 0) {
        r->pending = get_byte(r, failed);
        r->filled = 8;
    }
    bit = r->pending & 1u;
    r->pending >>= 1;
    r->filled--;
    return bit;
}

static inline unsigned get_run_bit(struct reader *r, int *failed)
{
    if (r->pending == 0 && r->filled == 0) {
        r->pending = get_byte(r, failed);
        r->filled = r->pending != RUN_MAX;
    }
    if (r->pending != 0) {
        r->pending--;
        return 0;
    }
    r->filled = 0;
    return 1;
}

/* Returns a symbol below levels whatever the streams hold. */
static inline uint8_t get_symbol(struct reader *r, const struct edgecomp_volume *v, const struct neighbours *n, unsigned q,
                          int *failed)
{
    const unsigned below = v->zero, above = v->levels - 1 - v->zero;
    unsigned negative = above == 0, m = 1, most;

    if ((q < RUN_CLASSES ? get_run_bit(&r[q], failed) : get_bit(&r[q], failed)) == 0) {
        return (uint8_t)v->zero;
    }
    if (below != 0 && above != 0) {
        negative = get_bit(&r[SIGN_BASE + n->signs], failed);
    }
    most = negative ? below : above;
    while (m < most && m < UNARY_MAX && get_bit(&r[MORE_BASE + q / 2], failed) != 0) {
        m++;
    }
    if (m == UNARY_MAX && most > UNARY_MAX) {
        m += get_byte(&r[REST_STREAM], failed);
        if (m > most) {
            *failed = 1;
            return (uint8_t)v->zero;
        }
    }
    return (uint8_t)(negative ? v->zero - m : v->zero + m);
}

/* Reads a minimal varint of at most 9 bytes; NULL when there is none. */
static const uint8_t *get_varint(const uint8_t *in, const uint8_t *end, uint64_t *value)
{
    unsigned shift;

    *value = 0;
    for (shift = 0; in != end && shift < 63; shift += 7) {
        const uint8_t byte = *in++;

        *value |= (uint64_t)(byte & 127u) << shift;
        if (byte < 128) {
            return byte == 0 && shift != 0 ? NULL : in;
        }
    }
    return NULL;
}

/* Finds the streams, which fill the rest of the input exactly. */
static int open_readers(struct reader *r, const uint8_t *in, const uint8_t *end)
{
    uint64_t used[STREAMS];
    unsigned i;

    for (i = 0; i < STREAMS; i++) {
        in = get_varint(in, end, &used[i]);
        if (in == NULL) {
            return EDGECOMP_CORRUPT_DATA;
        }
    }
    for (i = 0; i < STREAMS; i++) {
        if (used[i] > (uint64_t)(end - in)) {
            return EDGECOMP_CORRUPT_DATA;
        }
        r[i].at = in;
        in += (size_t)used[i];
        r[i].end = in;
        r[i].pending = 0;
        r[i].filled = 0;
    }
    return in == end ? EDGECOMP_OK : EDGECOMP_CORRUPT_DATA;
}

/* Every stream is used up, no padding bit is set, no run goes on. */
static int close_readers(const struct reader *r)
{
    unsigned i;

    for (i = 0; i < STREAMS; i++) {
        if (r[i].at != r[i].end || r[i].pending != 0) {
            return EDGECOMP_CORRUPT_DATA;
        }
    }
    return EDGECOMP_OK;
}

int edgecomp_sorted_unpack(const struct edgecomp_volume *v, const uint8_t *in, size_t in_len, uint8_t *symbols,
                           uint32_t *activity)
{
    const uint8_t *scales = in;
    struct reader r[STREAMS];
    size_t c, y, x;
    int failed = 0;

    if (in_len < v->channels) {
        return EDGECOMP_CORRUPT_DATA;
    }
    for (c = 0; c < v->channels; c++) {
        if (scales[c] > MAX_SCALE) {
            return EDGECOMP_CORRUPT_DATA;
        }
    }
    if (open_readers(r, in + v->channels, in + in_len) != EDGECOMP_OK) {
        return EDGECOMP_CORRUPT_DATA;
    }
    start_activity(v, activity);
    for (c = 0; c < v->channels; c++) {
        const struct channel ch = open_channel(scales[c]);
        uint8_t *p = symbols + c * v->height * v->width;
        size_t i = 0;

        if (scales[c] == 0) {
            continue;
        }
        for (y = 0; y < v->height; y++) {
            for (x = 0; x < v->width; x++, i++) {
                struct neighbours n;

                if (c >= edgecomp_coded_channels(v, i)) {
                    continue;
                }
                n = look_around(p + i, v->width, y, x, v->zero);
                p[i] = get_symbol(r, v, &n, classify(&n, &ch, activity[i]), &failed);
                activity[i] = update_activity(activity[i], magnitude(p[i], v->zero), &ch);
            }
            if (failed) {
                return EDGECOMP_CORRUPT_DATA;
            }
        }
    }
    return close_readers(r);
}
