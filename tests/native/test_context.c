/*
 * test_context.c: the context coder by itself, for builds with -fsanitize=address,undefined: its range coder, the checks
 * of its parameters, volumes with every kernel of this machine. Every buffer is an allocation of exactly its stated
 * size. tests/test_native.py builds and runs this; it prints one line and returns 0 when all is well.
 */
#include "check.h"
#include "context_parameters.h"
#include "range_coder.h"

static uint64_t state = 0x2545f4914f6cdd1du;

static unsigned random_below(unsigned limit)
{
    return random_from(&state, limit);
}

/* ---- the range coder ---- */

struct step {
    uint32_t start, frequency;
};

/* Decodes what was encoded, from an allocation of its size, and compares. */
static void expect_decoded(const uint8_t *code, size_t size, const struct step *steps, size_t count)
{
    uint8_t *copy = exactly(size);
    struct range_decoder rc;
    size_t i;

    if (size != 0) {
        memcpy(copy, code, size);
    }
    range_decoder_start(&rc, copy, size);
    for (i = 0; i < count; i++) {
        const uint64_t unit = range_unit(&rc);

        CHECK(rc.code >= unit * steps[i].start);
        CHECK(rc.code < unit * ((uint64_t)steps[i].start + steps[i].frequency));
        range_decode(&rc, unit, steps[i].start, steps[i].frequency);
    }
    CHECK(range_decoder_ended_well(&rc));
    free(copy);
}

/* Likely, unlikely, impossible to make less likely, and certain symbols, anywhere between 0 and 1. */
static struct step random_step(void)
{
    struct step s;

    switch (random_below(5)) {
    case 0:
        s.frequency = 1;
        break;
    case 1:
        s.frequency = PROBABILITY_ONE;
        break;
    case 2:
        s.frequency = PROBABILITY_ONE - 1 - random_below(4096);
        break;
    default:
        s.frequency = 1 + random_below(PROBABILITY_ONE >> random_below(24));
    }
    switch (random_below(3)) {
    case 0:
        s.start = 0;
        break;
    case 1:
        s.start = PROBABILITY_ONE - s.frequency;
        break;
    default:
        s.start = random_below(PROBABILITY_ONE - s.frequency + 1);
    }
    return s;
}

static void test_codes(void)
{
    int round;

    for (round = 0; round < 4000; round++) {
        const size_t count = random_below(40), cap = 3 * count + 8;
        struct step steps[40];
        uint8_t *out = exactly(cap);
        struct range_encoder rc;
        size_t i, size;

        range_encoder_start(&rc, out, cap);
        for (i = 0; i < count; i++) {
            steps[i] = random_step();
            range_encode(&rc, steps[i].start, steps[i].frequency);
        }
        CHECK(range_encoder_end(&rc));
        CHECK(count != 0 || rc.size == 0);
        size = rc.size;
        expect_decoded(out, size, steps, count);
        free(out);
        /* The same with every smaller room: all of it or a word of refusal, never a byte beyond. */
        for (i = 0; i <= size; i++) {
            size_t j;

            out = exactly(i);
            range_encoder_start(&rc, out, i);
            for (j = 0; j < count; j++) {
                range_encode(&rc, steps[j].start, steps[j].frequency);
            }
            CHECK(range_encoder_end(&rc) == (i == size));
            CHECK(i < size || rc.size == size);
            free(out);
        }
    }
}

/*
 * An interval that keeps a certain point inside it writes 0xff upon 0xff, because its lower end is just below the point;
 * then the part above the point is chosen, and the carry runs back through all of them.
 */
static void test_long_carry(void)
{
    enum { STEPS = 4000 };
    static struct step steps[STEPS + 1];
    static uint8_t out[3 * (STEPS + 1) + 8];
    struct range_encoder rc;
    uint64_t distance = 1ull << 63; /* from the lower end up to the point */
    size_t i, ones = 0, zeros = 0;

    range_encoder_start(&rc, out, sizeof out);
    for (i = 0; i <= STEPS; i++) {
        const uint64_t unit = rc.range >> PROBABILITY_BITS;
        const size_t before = rc.size;

        steps[i].start = (uint32_t)(distance / unit);
        steps[i].frequency = 1;
        distance -= unit * steps[i].start;
        if (i == STEPS) {
            CHECK(distance != 0 && steps[i].start + 1 < PROBABILITY_ONE);
            for (ones = 0; ones < rc.size && rc.out[rc.size - 1 - ones] == 0xff; ones++) {
            }
            steps[i].start++;
        }
        range_encode(&rc, steps[i].start, 1);
        distance <<= 8 * (rc.size - before);
    }
    CHECK(ones > STEPS); /* bytes: three of four steps write a word */
    for (i = 0; i < rc.size && rc.out[i] == (i == 0 ? 0x80 : 0); i++) {
        zeros++;
    }
    CHECK(zeros > ones);
    CHECK(range_encoder_end(&rc));
    expect_decoded(out, rc.size, steps, STEPS + 1);
}

/* ---- parameters ---- */

static const struct sizes small = {3, 6, 2, 1, 32, 32};

/* A model whose weights are all 0: every sum is what a test makes it. */
static uint8_t *blank(struct sizes s)
{
    const struct file f = file_of(s);
    uint8_t *data = exactly(f.at[TABLES]);
    unsigned i;

    memset(data, 0, f.at[TABLES]);
    put_header(data, s, 0, 0, 0);
    for (i = 0; i < s.channels; i++) {
        put(data, &f, ORDER, i, i);
    }
    for (i = 0; i < 128; i++) {
        put(data, &f, INVERSE, i, 1);
    }
    return data;
}

static int status_of(const uint8_t *data, size_t size)
{
    struct prepared p;
    const int status = prepare(data, size, &p);

    free_prepared(&p);
    return status;
}

static void test_header(void)
{
    static const struct {
        size_t at;
        uint8_t value;
    } bad[] = {
        {0, 'e'}, {1, 0}, {2, 'P'}, {3, 'C'}, {4, 0}, {4, 2}, {6, 31}, {6, 255}, {7, 31}, {7, 255}, {8, 31}, {8, 255},
        {9, 6}, {9, 255}, {18, 1}, {19, 1}, {19, 255},
    };
    static const struct sizes wrong[] = {
        {0, 6, 2, 1, 32, 32},   {257, 6, 2, 1, 32, 32}, {3, 1, 0, 1, 32, 32},  {3, 0, 0, 1, 32, 32},
        {3, 257, 2, 1, 32, 32}, {3, 6, 2, 0, 32, 32},   {3, 6, 2, 4, 32, 32},  {3, 6, 2, 1, 0, 32},
        {3, 6, 2, 1, 16, 32},   {3, 6, 2, 1, 48, 32},   {3, 6, 2, 1, 544, 32}, {3, 6, 2, 1, 32, 0},
        {3, 6, 2, 1, 32, 31},   {3, 6, 2, 1, 32, 33},   {3, 6, 2, 1, 32, 544}, {3, 2, 2, 1, 32, 32},
    };
    static const struct sizes right[] = {
        {1, 2, 0, 1, 32, 32}, {1, 2, 1, 1, 32, 32}, {256, 256, 255, 3, 512, 512}, {255, 255, 0, 2, 96, 64},
    };
    const struct file f = file_of(small);
    uint8_t *data = blank(small);
    size_t i;

    CHECK(status_of(data, f.at[TABLES]) == EDGECOMP_OK);
    CHECK(status_of(data, f.at[TABLES] - 1) == EDGECOMP_CORRUPT_DATA);
    for (i = 0; i <= HEADER_SIZE; i++) {
        uint8_t *cut = exactly(i);

        memcpy(cut != NULL ? cut : data, data, i);
        CHECK(status_of(cut, i) == EDGECOMP_CORRUPT_DATA);
        free(cut);
    }
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        const uint8_t kept = data[bad[i].at];

        data[bad[i].at] = bad[i].value;
        CHECK(status_of(data, f.at[TABLES]) == EDGECOMP_CORRUPT_DATA);
        data[bad[i].at] = kept;
    }
    data[6] = data[7] = data[8] = 30;
    CHECK(status_of(data, f.at[TABLES]) == EDGECOMP_OK);
    free(data);
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        data = blank(wrong[i]);
        CHECK(status_of(data, file_of(wrong[i]).at[TABLES]) == EDGECOMP_CORRUPT_DATA);
        free(data);
    }
    for (i = 0; i < sizeof right / sizeof *right; i++) {
        const size_t size = file_of(right[i]).at[TABLES];
        uint8_t *longer = exactly(size + 1);

        data = blank(right[i]);
        CHECK(status_of(data, size) == EDGECOMP_OK);
        memcpy(longer, data, size);
        longer[size] = 0;
        CHECK(status_of(longer, size + 1) == EDGECOMP_CORRUPT_DATA);
        free(longer);
        free(data);
    }
}

/* Every number of a table in turn: which values the model may have there, the others being those of `data`. */
static void expect_at_every_place(uint8_t *data, const struct file *f, int table, int64_t value, int expected)
{
    uint8_t *kept = exactly(f->at[TABLES]);
    size_t i;

    memcpy(kept, data, f->at[TABLES]);
    for (i = 0; i < count_of(f, table); i += table == ROWS ? 7 : 1) {
        put(data, f, table, i, value);
        CHECK(status_of(data, f->at[TABLES]) == expected);
        memcpy(data + f->at[table], kept + f->at[table], f->at[table + 1] - f->at[table]);
    }
    free(kept);
}

static void test_tables(void)
{
    const struct file f = file_of(small);
    uint8_t *data = blank(small);
    size_t i;

    for (i = 0; i < 3; i++) { /* no channel twice, none beyond the last */
        put(data, &f, ORDER, i, (int64_t)(i + 1) % 3);
        CHECK(status_of(data, f.at[TABLES]) == EDGECOMP_CORRUPT_DATA);
        put(data, &f, ORDER, i, 3);
        CHECK(status_of(data, f.at[TABLES]) == EDGECOMP_CORRUPT_DATA);
        put(data, &f, ORDER, i, 255);
        CHECK(status_of(data, f.at[TABLES]) == EDGECOMP_CORRUPT_DATA);
        put(data, &f, ORDER, i, (int64_t)i);
    }
    expect_at_every_place(data, &f, MEAN_SHIFT, 30, EDGECOMP_OK);
    expect_at_every_place(data, &f, MEAN_SHIFT, 31, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, MEAN_SHIFT, 255, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, FEATURE, -1, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, FEATURE, -32768, EDGECOMP_CORRUPT_DATA);
    for (i = 0; i < 3 * 256; i++) {
        put(data, &f, FEATURE, i, 32767);
        CHECK(status_of(data, f.at[TABLES]) == (i % 256 == 0 ? EDGECOMP_CORRUPT_DATA : EDGECOMP_OK));
        put(data, &f, FEATURE, i, 0);
    }
    expect_at_every_place(data, &f, INVERSE, 0, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, INVERSE, 1 << 24, EDGECOMP_OK);
    expect_at_every_place(data, &f, INVERSE, (1 << 24) + 1, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, INVERSE, 0xffffffff, EDGECOMP_CORRUPT_DATA);
    for (i = 0; i < 2049; i++) { /* a table that falls, one that rises, one that leaves a symbol nothing */
        put(data, &f, CUMULATIVE, i, 1);
        CHECK(status_of(data, f.at[TABLES]) == (i < 2048 ? EDGECOMP_CORRUPT_DATA : EDGECOMP_OK));
        put(data, &f, CUMULATIVE, i, 0);
    }
    put(data, &f, CUMULATIVE, 2048, PROBABILITY - 6);
    CHECK(status_of(data, f.at[TABLES]) == EDGECOMP_OK);
    put(data, &f, CUMULATIVE, 2048, PROBABILITY - 5);
    CHECK(status_of(data, f.at[TABLES]) == EDGECOMP_CORRUPT_DATA);
    put(data, &f, CUMULATIVE, 2048, 0xffffffff);
    CHECK(status_of(data, f.at[TABLES]) == EDGECOMP_CORRUPT_DATA);
    free(data);
}

/* Sums may reach SUM_BOUND, not one more, whichever weight of whichever sign it is that adds the last. */
static void test_bounds(void)
{
    const struct file f = file_of(small);
    const int biases[] = {BIAS0, BIAS1, OUT_BIAS};
    uint8_t *data = blank(small);
    size_t b, i;

    for (b = 0; b < 3; b++) {
        expect_at_every_place(data, &f, biases[b], SUM_BOUND, EDGECOMP_OK);
        expect_at_every_place(data, &f, biases[b], -SUM_BOUND, EDGECOMP_OK);
        expect_at_every_place(data, &f, biases[b], SUM_BOUND + 1, EDGECOMP_CORRUPT_DATA);
        expect_at_every_place(data, &f, biases[b], -SUM_BOUND - 1, EDGECOMP_CORRUPT_DATA);
        expect_at_every_place(data, &f, biases[b], INT32_MIN, EDGECOMP_CORRUPT_DATA);
        expect_at_every_place(data, &f, biases[b], INT32_MAX, EDGECOMP_CORRUPT_DATA);
    }
    for (i = 0; i < 3; i++) {
        put(data, &f, FEATURE, i * 256 + 1 + random_below(255), 10);
    }
    for (i = 0; i < 32; i++) {
        put(data, &f, BIAS0, i, i % 2 != 0 ? SUM_BOUND - 30 : 30 - SUM_BOUND);
        put(data, &f, BIAS1, i, SUM_BOUND - 2 * LARGEST_ACTIVATION);
    }
    for (i = 0; i < 16; i++) {
        put(data, &f, OUT_BIAS, i, i < 8 ? SUM_BOUND - 4 * LARGEST_ACTIVATION : 4 * LARGEST_ACTIVATION - SUM_BOUND);
    }
    expect_at_every_place(data, &f, ROWS, 3, EDGECOMP_OK);
    expect_at_every_place(data, &f, ROWS, -3, EDGECOMP_OK);
    expect_at_every_place(data, &f, ROWS, 4, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, ROWS, -4, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, ROWS, -32768, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, DENSE, 2, EDGECOMP_OK);
    expect_at_every_place(data, &f, DENSE, -2, EDGECOMP_OK);
    expect_at_every_place(data, &f, DENSE, 3, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, DENSE, -3, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, WITHIN, 2 * LARGEST_ACTIVATION / 10, EDGECOMP_OK);
    expect_at_every_place(data, &f, WITHIN, -2 * LARGEST_ACTIVATION / 10, EDGECOMP_OK);
    expect_at_every_place(data, &f, WITHIN, 2 * LARGEST_ACTIVATION / 10 + 1, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, WITHIN, -2 * LARGEST_ACTIVATION / 10 - 1, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, OUT, 4, EDGECOMP_OK);
    expect_at_every_place(data, &f, OUT, -4, EDGECOMP_OK);
    expect_at_every_place(data, &f, OUT, 5, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, OUT, -5, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, LINEAR, 4 * LARGEST_ACTIVATION / 255, EDGECOMP_OK);
    expect_at_every_place(data, &f, LINEAR, -4 * LARGEST_ACTIVATION / 255, EDGECOMP_OK);
    expect_at_every_place(data, &f, LINEAR, 4 * LARGEST_ACTIVATION / 255 + 1, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, LINEAR, -4 * LARGEST_ACTIVATION / 255 - 1, EDGECOMP_CORRUPT_DATA);
    expect_at_every_place(data, &f, LINEAR, INT32_MIN, EDGECOMP_CORRUPT_DATA);
    for (i = 0; i < 3; i++) {
        put(data, &f, OUT_BIAS, i, SUM_BOUND - (255 * 100 - 1));
    }
    expect_at_every_place(data, &f, LINEAR, 99, EDGECOMP_OK);
    expect_at_every_place(data, &f, LINEAR, 100, EDGECOMP_CORRUPT_DATA);
    free(data);
}

/* ---- volumes ---- */

struct volume {
    struct prepared model;
    struct sizes sizes;
    size_t h, w, n, scratch;
    uint8_t *symbols, *counts, *workspace, *decoded;
};

static uint8_t random_symbol(unsigned kind, const struct sizes *s)
{
    switch (kind) {
    case 0:
        return (uint8_t)s->zero;
    case 1:
        return (uint8_t)(random_below(8) != 0 ? s->zero : random_below(s->levels));
    case 2:
        return (uint8_t)random_below(s->levels);
    case 3:
        return (uint8_t)(random_below(2) * (s->levels - 1));
    default:
        return (uint8_t)(s->levels - 1);
    }
}

/* A volume of random symbols for parameters. */
static struct volume volume_for(const uint8_t *parameters, struct sizes s, size_t h, size_t w, int with_counts)
{
    const unsigned kind = random_below(5);
    struct volume v;
    size_t c, i;

    CHECK(prepare(parameters, file_of(s).at[TABLES], &v.model) == EDGECOMP_OK);
    CHECK(edgecomp_context_workspace(v.model.data, v.model.size, w, &v.scratch) == EDGECOMP_OK);
    v.sizes = s;
    v.h = h;
    v.w = w;
    v.n = s.channels * h * w;
    v.symbols = exactly(v.n);
    v.decoded = exactly(v.n);
    v.counts = with_counts ? exactly(h * w) : NULL;
    v.workspace = exactly(v.scratch);
    for (i = 0; v.counts != NULL && i < h * w; i++) {
        v.counts[i] = (uint8_t)random_below(s.channels < 255 ? s.channels + 1 : 256);
    }
    for (c = 0; c < s.channels; c++) {
        for (i = 0; i < h * w; i++) {
            const int coded = v.counts == NULL || c < v.counts[i];

            v.symbols[c * h * w + i] = coded ? random_symbol(kind, &s) : (uint8_t)s.zero;
        }
    }
    return v;
}

static void free_volume(struct volume *v)
{
    free_prepared(&v->model);
    free(v->symbols);
    free(v->counts);
    free(v->workspace);
    free(v->decoded);
}

static int encode(const struct volume *v, int kernels, uint8_t *out, size_t cap, size_t *len)
{
    return edgecomp_context_encode(v->model.data, v->model.size, v->symbols, v->h, v->w, v->counts, kernels,
                                   v->workspace, v->scratch, out, cap, len);
}

/* Decodes a copy of exactly its size into v->decoded. */
static int decode(const struct volume *v, int kernels, const uint8_t *bytes, size_t len)
{
    uint8_t *copy = exactly(len);
    int status;

    if (len != 0) {
        memcpy(copy, bytes, len);
    }
    memset(v->workspace, 0xa5, v->scratch);
    status = edgecomp_context_decode(v->model.data, v->model.size, copy, len, v->h, v->w, v->counts, kernels,
                                     v->workspace, v->scratch, v->decoded, v->n);
    free(copy);
    return status;
}

/* The same status and symbols with every kernel; symbols below levels, and zero where they are left out. */
static int decode_hostile(const struct volume *v, const uint8_t *bytes, size_t len)
{
    uint8_t *first = exactly(v->n);
    const int status = decode(v, EDGECOMP_KERNELS_PORTABLE, bytes, len);
    size_t i;

    CHECK(status == EDGECOMP_OK || status == EDGECOMP_CORRUPT_DATA);
    for (i = 0; i < v->n; i++) {
        const size_t plane = v->h * v->w;

        if (status == EDGECOMP_OK) {
            CHECK(v->decoded[i] < v->sizes.levels);
            CHECK(v->counts == NULL || i / plane < v->counts[i % plane] || v->decoded[i] == v->sizes.zero);
        }
        first[i] = v->decoded[i];
    }
    CHECK(decode(v, EDGECOMP_KERNELS_AUTO, bytes, len) == status);
    CHECK(status != EDGECOMP_OK || v->n == 0 || memcmp(first, v->decoded, v->n) == 0);
    free(first);
    return status;
}

/* Encodes with all kernels, which must agree; the caller frees the code. */
static uint8_t *encode_with_all(const struct volume *v, size_t *len)
{
    const size_t cap = 3 * v->n + 8;
    uint8_t *out = exactly(cap), *again = exactly(cap);
    size_t k, other;

    CHECK(encode(v, EDGECOMP_KERNELS_PORTABLE, out, cap, len) == EDGECOMP_OK);
    for (k = 0; k < sizeof all_kernels / sizeof *all_kernels; k++) {
        if (!have_kernels(&v->model, all_kernels[k])) {
            CHECK(encode(v, all_kernels[k], again, cap, &other) == EDGECOMP_BAD_ARGUMENT && other == 0);
            CHECK(decode(v, all_kernels[k], out, *len) == EDGECOMP_BAD_ARGUMENT);
            continue;
        }
        memset(v->workspace, 0x5a, v->scratch);
        CHECK(encode(v, all_kernels[k], again, cap, &other) == EDGECOMP_OK);
        CHECK(other == *len && memcmp(out, again, other) == 0);
        CHECK(decode(v, all_kernels[k], out, *len) == EDGECOMP_OK);
        CHECK(v->n == 0 || memcmp(v->symbols, v->decoded, v->n) == 0);
    }
    free(again);
    return out;
}

/* Cuts, spare bytes, flipped bits: another volume or a refusal. */
static void damage(const struct volume *v, uint8_t *code, size_t len)
{
    uint8_t *longer = exactly(len + 9);
    size_t i;

    for (i = 0; i < 12 && len != 0; i++) {
        const size_t at = random_below((unsigned)len);
        const uint8_t kept = code[at];

        decode_hostile(v, code, at);
        code[at] = (uint8_t)(kept ^ (1u << random_below(8)));
        decode_hostile(v, code, len);
        code[at] = kept;
    }
    memcpy(longer, code, len);
    memset(longer + len, 0xff, 9);
    decode_hostile(v, longer, len + 9);
    memset(longer + len, 0, 9);
    for (i = 1; i <= 9; i++) {
        CHECK(decode_hostile(v, longer, len + i) == EDGECOMP_CORRUPT_DATA);
    }
    free(longer);
}

static void test_round_trips(void)
{
    static const struct sizes all[] = {
        {1, 2, 0, 1, 32, 32},   {1, 2, 1, 3, 32, 32},      {2, 6, 2, 2, 64, 32},  {7, 6, 0, 1, 96, 64},
        {8, 6, 5, 1, 32, 128},  {9, 256, 128, 2, 128, 32}, {13, 256, 0, 1, 32, 32}, {16, 256, 255, 1, 64, 64},
        {17, 17, 8, 3, 32, 96}, {255, 3, 1, 1, 32, 32},    {256, 256, 128, 1, 32, 32},
    };
    int round;

    for (round = 0; round < 330; round++) {
        const struct sizes s = all[(size_t)round % (sizeof all / sizeof *all)];
        uint8_t *parameters = make_parameters(s, (uint64_t)round);
        const unsigned side = s.channels > 100 ? 4 : 9;
        struct volume v = volume_for(parameters, s, random_below(side), random_below(side), random_below(2) != 0);
        size_t len;
        uint8_t *code = encode_with_all(&v, &len);

        CHECK(v.n != 0 || len == 0);
        damage(&v, code, len);
        free(code);
        free_volume(&v);
        free(parameters);
    }
}

static void test_noise(void)
{
    uint8_t noise[400];
    int round;

    for (round = 0; round < 1500; round++) {
        const struct sizes s = {1 + random_below(10), 2 + random_below(255), 0, 1 + random_below(2), 32, 32};
        uint8_t *parameters = make_parameters(s, (uint64_t)round);
        struct volume v = volume_for(parameters, s, random_below(6), random_below(6), random_below(2) != 0);
        const size_t len = random_below(sizeof noise + 1);
        size_t i;

        for (i = 0; i < len; i++) {
            noise[i] = (uint8_t)(round % 3 == 0 ? 0xff * random_below(2) : random_below(256));
        }
        decode_hostile(&v, noise, len);
        free_volume(&v);
        free(parameters);
    }
}

/* Every room from nothing to enough: refused below the size of the code, and the code itself from there on. */
static void test_rooms(void)
{
    int round;

    for (round = 0; round < 60; round++) {
        uint8_t *parameters = make_parameters(small, (uint64_t)round), *code;
        struct volume v = volume_for(parameters, small, 1 + random_below(4), 1 + random_below(4), 0);
        size_t len, cap, got;

        code = encode_with_all(&v, &len);
        for (cap = 0; cap <= 3 * v.n + 8; cap++) {
            uint8_t *out = exactly(cap);
            const int status = encode(&v, EDGECOMP_KERNELS_AUTO, out, cap, &got);

            CHECK(status == (cap < len ? EDGECOMP_OUTPUT_TOO_SMALL : EDGECOMP_OK));
            CHECK(got == (cap < len ? 0 : len));
            CHECK(got == 0 || memcmp(out, code, got) == 0);
            free(out);
        }
        free(code);
        free_volume(&v);
        free(parameters);
    }
}

/* The dearest symbols there are: three bytes each and the eight of the end are enough. */
static void test_impossible_symbols(void)
{
    const struct sizes s = {64, 256, 0, 1, 32, 32};
    uint8_t *parameters = blank(s), *code; /* its table gives all to the last symbol */
    struct volume v = volume_for(parameters, s, 12, 12, 0);
    size_t len, i;

    for (i = 0; i < v.n; i++) {
        v.symbols[i] = (uint8_t)random_below(255);
    }
    code = encode_with_all(&v, &len);
    CHECK(len > 3 * v.n - 4 && len <= 3 * v.n + 8);
    free(code);
    memset(v.symbols, 255, v.n);
    code = encode_with_all(&v, &len);
    CHECK(len <= 4); /* log2(1 - 255 / 2^24) bits a symbol */
    free(code);
    free_volume(&v);
    free(parameters);
}

/* Weights that use up all that the checks allow, and symbols that reach it: UBSan sees the first sum that is too large. */
static void test_largest_sums(void)
{
    const struct sizes s = {8, 256, 128, 1, 32, 32};
    const struct file f = file_of(s);
    const int64_t row = SUM_BOUND / (4 * 8 * 32767), dense = SUM_BOUND / 2 / (32 * LARGEST_ACTIVATION);
    int sign;

    for (sign = -1; sign <= 1; sign += 2) {
        uint8_t *parameters = blank(s);
        struct volume v;
        size_t i, len;

        for (i = 0; i < 8 * 256; i++) {
            put(parameters, &f, FEATURE, i, i % 256 == 0 ? 0 : 32767);
        }
        for (i = 0; i < count_of(&f, ROWS); i++) {
            put(parameters, &f, ROWS, i, sign * row);
        }
        for (i = 0; i < 32; i++) {
            put(parameters, &f, BIAS0, i, sign * (SUM_BOUND - 4 * 8 * 32767 * row));
        }
        for (i = 0; i < 32 * 32; i++) {
            put(parameters, &f, DENSE, i, dense);
        }
        for (i = 0; i < count_of(&f, WITHIN); i++) {
            put(parameters, &f, WITHIN, i, sign * (SUM_BOUND / 2 / (8 * 32767)));
        }
        for (i = 0; i < count_of(&f, OUT); i++) {
            put(parameters, &f, OUT, i, sign * dense);
        }
        for (i = 0; i < count_of(&f, LINEAR); i++) {
            put(parameters, &f, LINEAR, i, -sign * (SUM_BOUND / 2 / (4 * 255)));
        }
        for (i = 0; i < 8; i++) {
            put(parameters, &f, MEAN_SHIFT, i, 15);
        }
        v = volume_for(parameters, s, 6, 6, 0);
        for (i = 0; i < v.n; i++) {
            v.symbols[i] = (uint8_t)(random_below(3) != 0 ? 0 : random_below(2) * 255);
        }
        free(encode_with_all(&v, &len));
        free_volume(&v);
        free(parameters);
    }
}

/* ---- arguments ---- */

static void test_prepare_arguments(void)
{
    const size_t size = file_of(small).at[TABLES];
    uint8_t *data = blank(small);
    struct prepared p;
    size_t needed, at;
    unsigned a, b, c;

    CHECK(edgecomp_context_prepared_size(data, size, NULL) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_context_prepared_size(NULL, size, &needed) != EDGECOMP_OK && needed == 0);
    CHECK(edgecomp_context_prepared_size(NULL, 0, &needed) == EDGECOMP_CORRUPT_DATA && needed == 0);
    CHECK(edgecomp_context_prepared_size(data, size, &needed) == EDGECOMP_OK);
    p = room_for(needed + EDGECOMP_CONTEXT_ALIGNMENT);
    CHECK(edgecomp_context_prepare(NULL, size, p.data, needed) != EDGECOMP_OK);
    CHECK(edgecomp_context_prepare(data, size, NULL, needed) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_context_prepare(data, size, p.data, needed - 1) == EDGECOMP_OUTPUT_TOO_SMALL);
    CHECK(edgecomp_context_prepare(data, size, p.data, 0) == EDGECOMP_OUTPUT_TOO_SMALL);
    for (at = 1; at < EDGECOMP_CONTEXT_ALIGNMENT; at++) {
        CHECK(edgecomp_context_prepare(data, size, p.data + at, needed) == EDGECOMP_BAD_ARGUMENT);
    }
    CHECK(edgecomp_context_prepare(data, size, p.data, needed) == EDGECOMP_OK);
    CHECK(edgecomp_context_describe(p.data, needed, &a, &b, &c) == EDGECOMP_OK);
    CHECK(a == 3 && b == 6 && c == 2);
    CHECK(edgecomp_context_describe(NULL, needed, &a, &b, &c) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_context_describe(p.data, needed - 1, &a, &b, &c) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_context_describe(p.data, 0, &a, &b, &c) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_context_describe(p.data, needed, NULL, &b, &c) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_context_describe(p.data, needed, &a, NULL, &c) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_context_describe(p.data, needed, &a, &b, NULL) == EDGECOMP_BAD_ARGUMENT);
    memmove(p.data + 8, p.data, needed);
    CHECK(edgecomp_context_describe(p.data + 8, needed, &a, &b, &c) == EDGECOMP_BAD_ARGUMENT);
    free_prepared(&p);
    free(data);
}

/* Volumes two columns wide. */
static int encode_two(const uint8_t *model, size_t model_len, const uint8_t *symbols, size_t h, const uint8_t *counts,
                      int kernels, uint8_t *workspace, size_t scratch, uint8_t *out, size_t cap, size_t *len)
{
    return edgecomp_context_encode(model, model_len, symbols, h, 2, counts, kernels, workspace, scratch, out, cap, len);
}

static int decode_two(const uint8_t *model, size_t model_len, const uint8_t *in, size_t len, size_t h,
                      const uint8_t *counts, int kernels, uint8_t *workspace, size_t scratch, uint8_t *symbols, size_t cap)
{
    return edgecomp_context_decode(model, model_len, in, len, h, 2, counts, kernels, workspace, scratch, symbols, cap);
}

static void test_coding_arguments(void)
{
    uint8_t *parameters = make_parameters(small, 1), out[64], code[64], kept;
    struct volume v = volume_for(parameters, small, 2, 2, 1);
    size_t len, code_len, size;

    CHECK(encode(&v, EDGECOMP_KERNELS_AUTO, code, sizeof code, &code_len) == EDGECOMP_OK);
#define MODEL v.model.data, v.model.size
#define WORK v.workspace, v.scratch
    CHECK(encode_two(MODEL, v.symbols, 2, v.counts, 0, WORK, out, 64, &len) == EDGECOMP_OK && len == code_len);
    CHECK(encode_two(MODEL, v.symbols, 2, v.counts, 0, WORK, out, 64, NULL) == EDGECOMP_BAD_ARGUMENT);
    CHECK(encode_two(NULL, v.model.size, v.symbols, 2, NULL, 0, WORK, out, 64, &len) == EDGECOMP_BAD_ARGUMENT && len == 0);
    CHECK(encode_two(v.model.data, v.model.size - 1, v.symbols, 2, NULL, 0, WORK, out, 64, &len) == EDGECOMP_BAD_ARGUMENT);
    CHECK(encode_two(MODEL, NULL, 2, NULL, 0, WORK, out, 64, &len) == EDGECOMP_BAD_ARGUMENT);
    CHECK(encode_two(MODEL, v.symbols, 2, v.counts, 0, WORK, NULL, 64, &len) == EDGECOMP_BAD_ARGUMENT);
    CHECK(encode_two(MODEL, v.symbols, 2, v.counts, 0, NULL, v.scratch, out, 64, &len) == EDGECOMP_BAD_ARGUMENT);
    CHECK(encode_two(MODEL, v.symbols, 2, v.counts, 0, v.workspace, v.scratch - 1, out, 64, &len) == EDGECOMP_BAD_ARGUMENT);
    CHECK(encode_two(MODEL, v.symbols, 2, v.counts, 5, WORK, out, 64, &len) == EDGECOMP_BAD_ARGUMENT);
    CHECK(encode_two(MODEL, v.symbols, 2, v.counts, -1, WORK, out, 64, &len) == EDGECOMP_BAD_ARGUMENT);
    CHECK(encode_two(MODEL, v.symbols, SIZE_MAX / 2, v.counts, 0, WORK, out, 64, &len) == EDGECOMP_LIMIT_EXCEEDED);
    CHECK(encode_two(MODEL, v.symbols, 1u << 30, v.counts, 0, WORK, out, 64, &len) == EDGECOMP_LIMIT_EXCEEDED);
    CHECK(encode_two(MODEL, NULL, 0, NULL, 0, NULL, 0, NULL, 0, &len) == EDGECOMP_OK && len == 0);

    CHECK(decode_two(MODEL, code, code_len, 2, v.counts, 0, WORK, v.decoded, v.n) == EDGECOMP_OK);
    CHECK(memcmp(v.decoded, v.symbols, v.n) == 0);
    CHECK(decode_two(NULL, v.model.size, code, code_len, 2, NULL, 0, WORK, v.decoded, v.n) == EDGECOMP_BAD_ARGUMENT);
    CHECK(decode_two(v.model.data, 64, code, code_len, 2, NULL, 0, WORK, v.decoded, v.n) == EDGECOMP_BAD_ARGUMENT);
    CHECK(decode_two(MODEL, NULL, 4, 2, v.counts, 0, WORK, v.decoded, v.n) == EDGECOMP_BAD_ARGUMENT);
    CHECK(decode_two(MODEL, code, code_len, 2, v.counts, 0, WORK, NULL, v.n) == EDGECOMP_BAD_ARGUMENT);
    CHECK(decode_two(MODEL, code, code_len, 2, v.counts, 0, WORK, v.decoded, v.n - 1) == EDGECOMP_OUTPUT_TOO_SMALL);
    CHECK(decode_two(MODEL, code, code_len, 2, v.counts, 0, NULL, v.scratch, v.decoded, v.n) == EDGECOMP_BAD_ARGUMENT);
    CHECK(decode_two(MODEL, code, code_len, 2, v.counts, 0, v.workspace, v.scratch - 1, v.decoded, v.n) ==
          EDGECOMP_BAD_ARGUMENT);
    CHECK(decode_two(MODEL, code, code_len, 2, v.counts, 9, WORK, v.decoded, v.n) == EDGECOMP_BAD_ARGUMENT);
    CHECK(decode_two(MODEL, code, code_len, SIZE_MAX / 2, v.counts, 0, WORK, v.decoded, v.n) == EDGECOMP_LIMIT_EXCEEDED);
    CHECK(decode_two(MODEL, NULL, 0, 0, NULL, 0, NULL, 0, NULL, 0) == EDGECOMP_OK);
    CHECK(decode_two(MODEL, code, 1, 0, NULL, 0, NULL, 0, NULL, 0) == EDGECOMP_CORRUPT_DATA);

    kept = v.counts[3];
    v.counts[3] = 4; /* more than the channels */
    CHECK(encode(&v, 0, out, 64, &len) == EDGECOMP_BAD_ARGUMENT && len == 0);
    CHECK(decode(&v, 0, code, code_len) == EDGECOMP_BAD_ARGUMENT);
    v.counts[3] = 0; /* would drop a symbol that is not zero */
    v.symbols[3] = 5;
    CHECK(encode(&v, 0, out, 64, &len) == EDGECOMP_BAD_ARGUMENT && len == 0);
    v.counts[3] = 3;
    CHECK(encode(&v, 0, out, 64, &len) == EDGECOMP_OK);
    v.symbols[3] = 6; /* no such symbol */
    CHECK(encode(&v, 0, out, 64, &len) == EDGECOMP_BAD_ARGUMENT && len == 0);
    v.symbols[3] = 2;
    v.counts[3] = kept;

    CHECK(edgecomp_context_workspace(MODEL, 2, NULL) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_context_workspace(NULL, v.model.size, 2, &size) == EDGECOMP_BAD_ARGUMENT && size == 0);
    CHECK(edgecomp_context_workspace(MODEL, SIZE_MAX, &size) == EDGECOMP_LIMIT_EXCEEDED && size == 0);
    CHECK(edgecomp_context_workspace(MODEL, SIZE_MAX / 2, &size) == EDGECOMP_LIMIT_EXCEEDED && size == 0);
#undef MODEL
#undef WORK
    free_volume(&v);
    free(parameters);
}

/* Scratch memory at any address gives the same bytes, and none beyond it is touched. */
static void test_odd_workspaces(void)
{
    const struct sizes s = {8, 6, 2, 1, 32, 32}; /* 8 columns of 8 channels: no part of the memory is rounded up */
    uint8_t *parameters = make_parameters(s, 7), *code;
    struct volume v = volume_for(parameters, s, 5, 8, 0);
    uint8_t *whole = v.workspace, out[3 * 320 + 8];
    size_t len, again, at;

    code = encode_with_all(&v, &len);
    for (at = 0; at < 64; at++) {
        uint8_t *room = exactly(v.scratch + at);

        v.workspace = room + at;
        CHECK(encode(&v, EDGECOMP_KERNELS_AUTO, out, sizeof out, &again) == EDGECOMP_OK);
        CHECK(again == len && memcmp(out, code, len) == 0);
        CHECK(decode(&v, EDGECOMP_KERNELS_AUTO, code, len) == EDGECOMP_OK);
        CHECK(memcmp(v.decoded, v.symbols, v.n) == 0);
        free(room);
    }
    v.workspace = whole;
    free(code);
    free_volume(&v);
    free(parameters);
}

int main(void)
{
    test_codes();
    test_long_carry();
    test_header();
    test_tables();
    test_bounds();
    test_round_trips();
    test_noise();
    test_rooms();
    test_impossible_symbols();
    test_largest_sums();
    test_prepare_arguments();
    test_coding_arguments();
    test_odd_workspaces();
    puts("test_context: all tests passed");
    return 0;
}
