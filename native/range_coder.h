/*
 * range_coder.h: the range coder of the context coder, after Martin (1979) and Schindler's carryless variants, with a
 * 64-bit range, 24-bit probabilities and 32-bit words.
 *
 * State of the encoder: the code is a long binary fraction; the words that are written and `low` are the lower end of
 * the interval that is left of it, `range` is its length in units of the last of 64 bits. Invariants:
 *
 *   RANGE_MIN <= range < 2^64 between symbols (2^64 - 1 at the start)
 *   written words, low: the lower end; a carry out of `low` runs back into the words, never beyond the first, because
 *                       the interval always lies inside [0, 1)
 *
 * A symbol with start s and frequency f, 1 <= f and s + f <= 2^24, narrows it to [low + s r, low + s r + f r) with
 * r = range >> 24 >= 2^8. What the division cuts off (below 2^24 units of at least 2^32) belongs to no symbol: on
 * average 0.0002 bits a symbol. f r >= 2^8, so one word is enough to bring the range back above RANGE_MIN.
 *
 * The decoder keeps code - low instead of both. It needs no division: it compares with r * start. A start beyond the
 * last symbol's can only come from bytes that no encoder wrote, and stands for the last symbol.
 *
 * The end: of all numbers in the last interval the one with the most zero bits at its end is written as two words,
 * without their zero bytes at the end; the decoder goes on with zero bytes after the last one.
 */
#ifndef EDGECOMP_RANGE_CODER_H
#define EDGECOMP_RANGE_CODER_H

#include <stddef.h>
#include <stdint.h>

#define PROBABILITY_BITS 24u
#define PROBABILITY_ONE (1u << PROBABILITY_BITS)
#define RANGE_MIN (1ull << 32)

struct range_encoder {
    uint64_t low;
    uint64_t range;
    uint8_t *out;
    size_t size; /* bytes written */
    size_t cap;
    int full; /* more than cap bytes were needed; nothing is written any more */
};

static inline void range_encoder_start(struct range_encoder *rc, uint8_t *out, size_t cap)
{
    rc->low = 0;
    rc->range = UINT64_MAX;
    rc->out = out;
    rc->size = 0;
    rc->cap = cap;
    rc->full = 0;
}

/* Adds one to the number that the written bytes are. */
static inline void range_carry(struct range_encoder *rc)
{
    size_t i = rc->size;

    while (i > 0 && ++rc->out[--i] == 0) {
    }
}

static inline void range_put_word(struct range_encoder *rc)
{
    if (rc->cap - rc->size < 4) {
        rc->full = 1;
    } else {
        uint8_t *p = rc->out + rc->size;

        p[0] = (uint8_t)(rc->low >> 56);
        p[1] = (uint8_t)(rc->low >> 48);
        p[2] = (uint8_t)(rc->low >> 40);
        p[3] = (uint8_t)(rc->low >> 32);
        rc->size += 4;
    }
    rc->low <<= 32;
}

static inline void range_encode(struct range_encoder *rc, uint32_t start, uint32_t frequency)
{
    const uint64_t r = rc->range >> PROBABILITY_BITS;
    const uint64_t low = rc->low + r * start;

    if (low < rc->low) {
        range_carry(rc);
    }
    rc->low = low;
    rc->range = r * frequency;
    if (rc->range < RANGE_MIN) {
        range_put_word(rc);
        rc->range <<= 32;
    }
}

/* Ends the code; returns whether all of it fitted. */
static inline int range_encoder_end(struct range_encoder *rc)
{
    const uint64_t last = rc->low + (rc->range - 1); /* may wrap: then it is below low */
    unsigned bits = 63;
    size_t size;

    /* The largest number of zero bits for which a multiple of 2^bits lies in the interval. */
    for (;; bits--) { /* ends at 0, where `low` itself does */
        const uint64_t mask = (1ull << bits) - 1u;
        const uint64_t up = rc->low + mask; /* may wrap: then the multiple is 2^64, a carry and nothing else */

        if (up < rc->low) {
            if (last < rc->low) {
                range_carry(rc);
                rc->low = 0;
                break;
            }
        } else if ((up & ~mask) - rc->low <= rc->range - 1) {
            rc->low = up & ~mask;
            break;
        }
    }
    for (size = 8; size > 0 && (rc->low >> (64 - 8 * size) & 0xff) == 0; size--) {
    }
    if (rc->full || rc->cap - rc->size < size) {
        return 0;
    }
    for (; size > 0; size--) {
        rc->out[rc->size++] = (uint8_t)(rc->low >> 56);
        rc->low <<= 8;
    }
    return 1;
}

struct range_decoder {
    uint64_t code; /* of the bytes read so far, less the lower end */
    uint64_t range;
    const uint8_t *in;
    size_t size;
    size_t next; /* may go beyond size: zero bytes follow */
};

static inline uint64_t range_get_word(struct range_decoder *rc)
{
    const size_t at = rc->next;
    uint64_t word = 0;
    size_t i;

    rc->next += 4;
    if (rc->next <= rc->size) {
        const uint8_t *p = rc->in + at;

        return ((uint64_t)p[0] << 24) | ((uint64_t)p[1] << 16) | ((uint64_t)p[2] << 8) | p[3];
    }
    for (i = at; i < rc->next; i++) {
        word = (word << 8) | (i < rc->size ? rc->in[i] : 0u);
    }
    return word;
}

static inline void range_decoder_start(struct range_decoder *rc, const uint8_t *in, size_t size)
{
    rc->in = in;
    rc->size = size;
    rc->next = 0;
    rc->range = UINT64_MAX;
    rc->code = range_get_word(rc) << 32;
    rc->code |= range_get_word(rc);
}

/* What a frequency of one is worth now: the code belongs to the symbol with
 * r * start <= code < r * (start + frequency). */
static inline uint64_t range_unit(const struct range_decoder *rc)
{
    return rc->range >> PROBABILITY_BITS;
}

static inline void range_decode(struct range_decoder *rc, uint64_t unit, uint32_t start, uint32_t frequency)
{
    rc->code -= unit * start;
    rc->range = unit * frequency;
    if (rc->range < RANGE_MIN) {
        rc->code = (rc->code << 32) | range_get_word(rc);
        rc->range <<= 32;
    }
}

/*
 * Whether these bytes are what an encoder writes, as far as their number tells: it wrote as many words as were read,
 * and left out only zero bytes at the end of the last two.
 */
static inline int range_decoder_ended_well(const struct range_decoder *rc)
{
    if (rc->size > rc->next || rc->next - rc->size > 8 || rc->code >= rc->range) {
        return 0;
    }
    return rc->next - rc->size == 8 || rc->in[rc->size - 1] != 0;
}

#endif
