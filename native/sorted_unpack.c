/* sorted_unpack.c: reads the sorted layout (sorted_model.h). */
#include "sorted_model.h"

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
static inline uint8_t get_symbol(struct reader *r, const struct edgecomp_volume *v, const struct neighbours *n,
                                 unsigned q, int *failed)
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
        uint8_t *p;
        size_t i = 0;

        if (scales[c] == 0 || v->height * v->width == 0) { /* symbols may be NULL */
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
