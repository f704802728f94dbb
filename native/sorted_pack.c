/* sorted_pack.c: writes the sorted layout (sorted_model.h). */
#include "sorted_model.h"

#include <string.h>

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
        const uint8_t *p;
        size_t i = 0;

        if (scales[c] == 0) { /* so it is in an empty volume, whose symbols may be NULL */
            continue;
        }
        p = symbols + c * v->height * v->width;
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
