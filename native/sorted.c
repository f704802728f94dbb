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
 * FIGURES
 */
#include "pack_internal.h"

#include <string.h>

/* Streams: zero flags by class, "larger than k?" flags by half as many classes, signs by the signs beside them. */
#define ZERO_CLASSES 64u
#define MORE_CLASSES 32u
#define SIGN_CLASSES 9u
#define MORE_BASE ZERO_CLASSES
#define SIGN_BASE (ZERO_CLASSES + MORE_CLASSES)
#define STREAMS (SIGN_BASE + SIGN_CLASSES)

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

static unsigned magnitude(uint8_t symbol, unsigned zero)
{
    return symbol >= zero ? symbol - zero : zero - symbol;
}

/* 0: below the zero symbol, 1: the zero symbol, 2: above. */
static unsigned trit(uint8_t symbol, unsigned zero)
{
    return 1u + (symbol > zero) - (symbol < zero);
}

/* What is known where a symbol stands: its neighbours in the same channel (outside the volume: zero symbols). */
struct neighbours {
    unsigned near_sum; /* magnitudes of left and upper */
    unsigned far_sum;  /* magnitudes of upper left, upper right, second left, second upper */
    unsigned signs;    /* 0 .. 8: trits of left and upper */
};

static struct neighbours look_around(const uint8_t *p, size_t width, size_t y, size_t x, unsigned zero)
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

static unsigned floor_log2(uint64_t value)
{
    unsigned e = 0, step;

    for (step = 32; step != 0; step /= 2) {
        if (value >> step != 0) {
            value >>= step;
            e += step;
        }
    }
    return e;
}

/*
 * The class of a symbol: four classes an octave of its expected magnitude, which is a weighted sum of the
 * neighbours' magnitudes, of the channel's mean, and of that mean times the activity. The weights are in sixteenths.
 * The terms are below 3*510*2^12, 1020*2^12, 11 * 2^25 * 2^20 / 2^12 and 2^20: the sum is below 2^38.
 */
static unsigned classify(const struct neighbours *n, const struct channel *ch, uint32_t activity)
{
    uint64_t t = (uint64_t)(3u * n->near_sum + n->far_sum) * ONE;
    unsigned e, q;

    t += 11u * (((uint64_t)activity * ch->mean) / ONE) + ch->mean + 512u;
    e = floor_log2(t); /* at least 9, because of the 512 */
    q = 4u * (e - 9u) + ((unsigned)(t >> (e - 2u)) & 3u);
    return q < ZERO_CLASSES ? q : ZERO_CLASSES - 1;
}

/*
 * The activity at a position: how large the channels before were there, each relative to its own mean; a running
 * average that starts at ONE. m <= 255 and factor <= 2^24 / 205, so a step adds less than 2^22 and takes away an
 * eighth: the activity stays below 2^25.
 */
static uint32_t update_activity(uint32_t activity, unsigned m, const struct channel *ch)
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

/* The bits of all streams lie behind one another; `at` is the next bit of each. */
struct streams {
    uint64_t at[STREAMS];
    uint64_t end[STREAMS];
};

/* ---- packing ---- */

struct sink {
    struct streams s;
    uint8_t *bits;    /* NULL while counting */
    uint8_t *escapes; /* NULL while counting */
    uint64_t escape_count;
};

static void put(struct sink *k, unsigned stream, unsigned bit)
{
    const uint64_t at = k->s.at[stream]++;

    if (k->bits != NULL) {
        k->bits[at >> 3] = (uint8_t)(k->bits[at >> 3] | (bit << (at & 7u)));
    }
}

static void put_symbol(struct sink *k, const struct edgecomp_volume *v, const struct neighbours *n, unsigned q,
                       uint8_t symbol)
{
    const unsigned m = magnitude(symbol, v->zero);
    const unsigned below = v->zero, above = v->levels - 1 - v->zero;
    const int negative = symbol < v->zero;
    const unsigned most = negative ? below : above;
    unsigned j;

    put(k, q, m != 0);
    if (m == 0) {
        return;
    }
    if (below != 0 && above != 0) {
        put(k, SIGN_BASE + n->signs, negative ? 1u : 0u);
    }
    for (j = 1; j < most && j < UNARY_MAX; j++) {
        put(k, MORE_BASE + q / 2, m > j);
        if (m == j) {
            return;
        }
    }
    if (most > UNARY_MAX) {
        if (k->escapes != NULL) {
            k->escapes[k->escape_count] = (uint8_t)(m - UNARY_MAX);
        }
        k->escape_count++;
    }
}

static void walk(struct sink *k, const struct edgecomp_volume *v, const uint8_t *symbols, const uint8_t *scales,
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
                put_symbol(k, v, &n, classify(&n, &ch, activity[i]), p[i]);
                activity[i] = update_activity(activity[i], magnitude(p[i], v->zero), &ch);
            }
        }
    }
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
    struct sink k;
    uint64_t bits = 0, size;
    unsigned i;
    size_t c;

    *out_len = 0;
    if (limit < STREAMS || v->channels > limit - STREAMS) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    for (c = 0; c < v->channels; c++) {
        out[c] = plane == 0 ? 0 : choose_scale(v, symbols, c);
    }
    memset(&k, 0, sizeof k);
    walk(&k, v, symbols, out, activity);
    size = v->channels;
    for (i = 0; i < STREAMS; i++) {
        bits += k.s.at[i];
        size += varint_size(k.s.at[i]);
    }
    size += (bits + 7) / 8 + k.escape_count;
    if (size > limit) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    k.bits = out + v->channels;
    bits = 0;
    for (i = 0; i < STREAMS; i++) {
        const uint64_t length = k.s.at[i];

        k.bits = put_varint(k.bits, length);
        k.s.at[i] = bits;
        bits += length;
    }
    memset(k.bits, 0, (size_t)((bits + 7) / 8));
    k.escapes = k.bits + (size_t)((bits + 7) / 8);
    k.escape_count = 0;
    walk(&k, v, symbols, out, activity);
    *out_len = (size_t)size;
    return EDGECOMP_OK;
}

/* ---- unpacking ---- */

struct source {
    struct streams s;
    const uint8_t *bits;
    const uint8_t *escapes;
    const uint8_t *escapes_end;
    int failed; /* a stream or the escapes ran out */
};

static unsigned get(struct source *k, unsigned stream)
{
    const uint64_t at = k->s.at[stream];

    if (at == k->s.end[stream]) {
        k->failed = 1;
        return 0;
    }
    k->s.at[stream] = at + 1;
    return (k->bits[at >> 3] >> (at & 7u)) & 1u;
}

/* Returns a symbol below levels whatever the bits are. */
static uint8_t get_symbol(struct source *k, const struct edgecomp_volume *v, const struct neighbours *n, unsigned q)
{
    const unsigned below = v->zero, above = v->levels - 1 - v->zero;
    unsigned negative = above == 0, m = 1, most;

    if (get(k, q) == 0) {
        return (uint8_t)v->zero;
    }
    if (below != 0 && above != 0) {
        negative = get(k, SIGN_BASE + n->signs);
    }
    most = negative ? below : above;
    while (m < most && m < UNARY_MAX && get(k, MORE_BASE + q / 2) != 0) {
        m++;
    }
    if (m == UNARY_MAX && most > UNARY_MAX) {
        if (k->escapes == k->escapes_end || *k->escapes > most - UNARY_MAX) {
            k->failed = 1;
            return (uint8_t)v->zero;
        }
        m += *k->escapes++;
    }
    return (uint8_t)(negative ? v->zero - m : v->zero + m);
}

/* Reads a minimal varint of at most 10 bytes; NULL when there is none. */
static const uint8_t *get_varint(const uint8_t *in, const uint8_t *end, uint64_t *value)
{
    unsigned shift = 0;

    *value = 0;
    while (in != end && shift < 63) {
        const uint8_t byte = *in++;

        *value |= (uint64_t)(byte & 127u) << shift;
        if (byte < 128) {
            return byte == 0 && shift != 0 ? NULL : in;
        }
        shift += 7;
    }
    return NULL;
}

static int open_source(struct source *k, const uint8_t *in, const uint8_t *end)
{
    uint64_t bits = 0, length;
    unsigned i;

    for (i = 0; i < STREAMS; i++) {
        in = get_varint(in, end, &length);
        if (in == NULL || length > (uint64_t)EDGECOMP_MAX_SYMBOLS * UNARY_MAX) {
            return EDGECOMP_CORRUPT_DATA;
        }
        k->s.at[i] = bits;
        bits += length;
        k->s.end[i] = bits;
    }
    if ((bits + 7) / 8 > (uint64_t)(end - in)) {
        return EDGECOMP_CORRUPT_DATA;
    }
    k->bits = in;
    k->escapes = in + (size_t)((bits + 7) / 8);
    k->escapes_end = end;
    if ((bits & 7u) != 0 && k->escapes[-1] >> (bits & 7u) != 0) {
        return EDGECOMP_CORRUPT_DATA;
    }
    return EDGECOMP_OK;
}

int edgecomp_sorted_unpack(const struct edgecomp_volume *v, const uint8_t *in, size_t in_len, uint8_t *symbols,
                           uint32_t *activity)
{
    const uint8_t *scales = in;
    struct source k;
    size_t y, x, c;
    unsigned i;

    if (in_len < v->channels) {
        return EDGECOMP_CORRUPT_DATA;
    }
    for (c = 0; c < v->channels; c++) {
        if (scales[c] > MAX_SCALE) {
            return EDGECOMP_CORRUPT_DATA;
        }
    }
    memset(&k, 0, sizeof k);
    if (open_source(&k, in + v->channels, in + in_len) != EDGECOMP_OK) {
        return EDGECOMP_CORRUPT_DATA;
    }
    start_activity(v, activity);
    for (c = 0; c < v->channels; c++) {
        const struct channel ch = open_channel(scales[c]);
        uint8_t *p = symbols + c * v->height * v->width;
        size_t at = 0;

        if (scales[c] == 0) {
            continue;
        }
        for (y = 0; y < v->height; y++) {
            for (x = 0; x < v->width; x++, at++) {
                struct neighbours n;

                if (c >= edgecomp_coded_channels(v, at)) {
                    continue;
                }
                n = look_around(p + at, v->width, y, x, v->zero);
                p[at] = get_symbol(&k, v, &n, classify(&n, &ch, activity[at]));
                activity[at] = update_activity(activity[at], magnitude(p[at], v->zero), &ch);
            }
            if (k.failed) {
                return EDGECOMP_CORRUPT_DATA;
            }
        }
    }
    for (i = 0; i < STREAMS; i++) {
        if (k.s.at[i] != k.s.end[i]) {
            return EDGECOMP_CORRUPT_DATA;
        }
    }
    return k.escapes == k.escapes_end ? EDGECOMP_OK : EDGECOMP_CORRUPT_DATA;
}
