/*
 * context_parameters.h: small random parameters of the context coder, valid by construction, for the C tests and the
 * fuzzing targets. docs/format-context.md, section 2, is the layout of the file.
 */
#ifndef CONTEXT_PARAMETERS_H
#define CONTEXT_PARAMETERS_H

#include "check.h"
#include "edgecomp_native.h"

#include <string.h>
#ifdef _WIN32
#include <malloc.h>
#endif

#define HEADER_SIZE 20u
#define SUM_BOUND (1 << 30)       /* of any sum of the model */
#define LARGEST_ACTIVATION 8191
#define PROBABILITY (1u << 24)

struct sizes {
    unsigned channels, levels, zero, reach, width, hidden;
};

/* The tables of the file, in its order. */
enum table {
    ORDER,
    MEAN_SHIFT,
    FEATURE,
    BIAS0,
    ROWS,
    LINEAR,
    BIAS1,
    DENSE,
    WITHIN,
    OUT_BIAS,
    OUT,
    INVERSE,
    CUMULATIVE,
    TABLES
};

struct file {
    struct sizes sizes;
    size_t at[TABLES + 1];  /* offsets; the last is the size of the file */
    size_t bytes[TABLES];   /* of a number */
};

static inline unsigned taps_of(const struct sizes *s)
{
    return 2 * s->reach * (s->reach + 1);
}

static inline unsigned places_of(const struct sizes *s)
{
    return (s->channels + 7) / 8 * 8;
}

static inline struct file file_of(struct sizes s)
{
    const size_t counts[TABLES] = {s.channels,
                                   places_of(&s),
                                   s.channels * 256u,
                                   s.width,
                                   (size_t)taps_of(&s) * s.channels * 2 * s.width,
                                   (size_t)taps_of(&s) * s.channels,
                                   s.hidden,
                                   (size_t)s.width * s.hidden,
                                   (size_t)s.channels * 2 * s.hidden,
                                   places_of(&s) * 2u,
                                   (size_t)places_of(&s) * 2 * s.hidden,
                                   128,
                                   2049};
    const size_t bytes[TABLES] = {1, 1, 2, 4, 2, 4, 4, 2, 2, 4, 2, 4, 4};
    struct file f;
    size_t i;

    f.sizes = s;
    f.at[0] = HEADER_SIZE;
    for (i = 0; i < TABLES; i++) {
        f.bytes[i] = bytes[i];
        f.at[i + 1] = f.at[i] + counts[i] * bytes[i];
    }
    return f;
}

static inline size_t count_of(const struct file *f, int table)
{
    return (f->at[table + 1] - f->at[table]) / f->bytes[table];
}

/* Writes one number of a table, little-endian. */
static inline void put(uint8_t *data, const struct file *f, int table, size_t index, int64_t value)
{
    size_t i;

    for (i = 0; i < f->bytes[table]; i++) {
        data[f->at[table] + index * f->bytes[table] + i] = (uint8_t)((uint64_t)value >> (8 * i));
    }
}

/* Numbers from -limit to limit, of 16 bits if that is what the table has. */
static inline void fill(uint8_t *data, const struct file *f, int table, int64_t limit, uint64_t *state)
{
    size_t i;

    if (f->bytes[table] == 2 && limit > 32767) {
        limit = 32767;
    }
    for (i = 0; i < count_of(f, table); i++) {
        put(data, f, table, i, (int64_t)(random_bits(state) % (2 * (uint64_t)limit + 1)) - limit);
    }
}

/* A cumulative table: random steps, none at all, one step in the middle, or everything at once. */
static inline void fill_cumulative(uint8_t *data, const struct file *f, unsigned kind, uint64_t *state)
{
    const uint32_t most = PROBABILITY - f->sizes.levels;
    uint32_t value = 0;
    size_t i;

    for (i = 0; i < 2049; i++) {
        switch (kind) {
        case 0: /* as steep as a logistic function in the middle */
            value += i > 960 && i < 1088 ? random_from(state, most / 256) : random_from(state, 400);
            break;
        case 1:
            value = 0;
            break;
        case 2:
            value = i <= 1024 ? 0 : most;
            break;
        default:
            value = most;
        }
        value = value > most ? most : value;
        put(data, f, CUMULATIVE, i, value);
    }
}

static inline void put_header(uint8_t *data, struct sizes s, unsigned shift0, unsigned shift1, unsigned scale_shift)
{
    const uint8_t header[HEADER_SIZE] = {'E',
                                         'C',
                                         'C',
                                         'P',
                                         1,
                                         (uint8_t)s.reach,
                                         (uint8_t)shift0,
                                         (uint8_t)shift1,
                                         (uint8_t)scale_shift,
                                         (uint8_t)s.zero,
                                         (uint8_t)s.channels,
                                         (uint8_t)(s.channels >> 8),
                                         (uint8_t)s.levels,
                                         (uint8_t)(s.levels >> 8),
                                         (uint8_t)s.width,
                                         (uint8_t)(s.width >> 8),
                                         (uint8_t)s.hidden,
                                         (uint8_t)(s.hidden >> 8),
                                         0,
                                         0};
    memcpy(data, header, sizeof header);
}

/* A file of exactly f->at[TABLES] bytes, to be freed by the caller; the same for a seed wherever it is made. Each sum is
 * at most SUM_BOUND. */
static inline uint8_t *make_parameters(struct sizes s, uint64_t seed)
{
    const struct file f = file_of(s);
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 0x1234567u;
    const int64_t part = SUM_BOUND / 4;
    unsigned i, largest, shift, shifts[3];
    uint8_t *data = exactly(f.at[TABLES]);

    random_bits(&state);
    largest = random_from(&state, 8) == 0 ? 32767 : 1 + random_from(&state, 1024);
    for (i = 0; i < 3; i++) { /* not among arguments, whose order is up to the compiler */
        shifts[i] = (i < 2 ? 8 : 15) + random_from(&state, i < 2 ? 12 : 6);
    }
    put_header(data, s, shifts[0], shifts[1], shifts[2]);
    for (i = 0; i < s.channels; i++) {
        put(data, &f, ORDER, i, i);
    }
    for (i = s.channels; i > 1; i--) { /* shuffled */
        uint8_t *order = data + f.at[ORDER], *other = order + random_from(&state, i), kept = order[i - 1];

        order[i - 1] = *other;
        *other = kept;
    }
    shift = 10 + random_from(&state, 10);
    for (i = 0; i < places_of(&s); i++) {
        put(data, &f, MEAN_SHIFT, i, shift);
    }
    for (i = 0; i < s.channels * 256; i++) {
        put(data, &f, FEATURE, i, i % 256 == 0 ? 0 : random_from(&state, largest + 1));
    }
    fill(data, &f, BIAS0, part, &state);
    fill(data, &f, ROWS, part / ((int64_t)taps_of(&s) * s.channels * largest), &state);
    fill(data, &f, LINEAR, part / (255 * (int64_t)taps_of(&s)), &state);
    fill(data, &f, BIAS1, part, &state);
    fill(data, &f, DENSE, part / (LARGEST_ACTIVATION * (int64_t)s.width), &state);
    fill(data, &f, WITHIN, part / ((int64_t)s.channels * largest), &state);
    fill(data, &f, OUT_BIAS, part / 16, &state);
    fill(data, &f, OUT, part / (LARGEST_ACTIVATION * (int64_t)s.hidden), &state);
    shift = random_from(&state, 4);
    for (i = 0; i < 128; i++) {
        put(data, &f, INVERSE, i, shift == 0 ? 1 + random_bits(&state) % (1u << 24) : 1 + (1u << 20) / (1 + i * i));
    }
    fill_cumulative(data, &f, shift == 1 ? 1 + random_from(&state, 3) : 0, &state);
    return data;
}

/* What was prepared of a file, in memory as it must be aligned. */
struct prepared {
    uint8_t *data; /* of exactly `size` bytes, to be freed by free_prepared */
    size_t size;
};

static inline struct prepared room_for(size_t size)
{
    struct prepared p = {NULL, size};

    if (size != 0) {
#ifdef _WIN32
        p.data = _aligned_malloc(size, EDGECOMP_CONTEXT_ALIGNMENT);
#else
        /* Sizes are multiples of the alignment, which aligned_alloc asks for. */
        p.data = aligned_alloc(EDGECOMP_CONTEXT_ALIGNMENT, size);
#endif
        CHECK(p.data != NULL);
    }
    return p;
}

static inline void free_prepared(struct prepared *p)
{
#ifdef _WIN32
    _aligned_free(p->data);
#else
    free(p->data);
#endif
    p->data = NULL;
}

/* Prepares a file; returns the status, and room to be freed only with EDGECOMP_OK. */
static inline int prepare(const uint8_t *parameters, size_t size, struct prepared *p)
{
    size_t needed;
    int status = edgecomp_context_prepared_size(parameters, size, &needed);

    p->data = NULL;
    p->size = 0;
    if (status != EDGECOMP_OK) {
        CHECK(needed == 0);
        return status;
    }
    CHECK(needed % EDGECOMP_CONTEXT_ALIGNMENT == 0);
    *p = room_for(needed);
    status = edgecomp_context_prepare(parameters, size, p->data, p->size);
    if (status != EDGECOMP_OK) {
        free_prepared(p);
    }
    return status;
}

static const int all_kernels[] = {EDGECOMP_KERNELS_AUTO, EDGECOMP_KERNELS_PORTABLE, EDGECOMP_KERNELS_AVX2,
                                  EDGECOMP_KERNELS_NEON, EDGECOMP_KERNELS_AVX512};

/* Whether this build on this machine has these kernels. */
static inline int have_kernels(const struct prepared *p, int kernels)
{
    size_t length;

    return edgecomp_context_encode(p->data, p->size, NULL, 0, 0, NULL, kernels, NULL, 0, NULL, 0, &length) ==
           EDGECOMP_OK;
}

#endif
