/*
 * prepare.c: fuzzing target, hostile parameters for the context coder. If the first byte of an input is even, the rest
 * is a parameter file. If not, the second byte chooses valid parameters, and records of eight bytes change them: table,
 * index (3 bytes), value (4 bytes). Files that are accepted must code volumes, alike with every kernel, without a sum
 * that overflows (for the sanitizer to see).
 */
#include "context_parameters.h"

#define RECORD 8u
#define SIDE 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct sizes choices[] = {
    {1, 2, 0, 1, 32, 32}, {3, 6, 2, 1, 32, 32}, {8, 256, 128, 1, 32, 32}, {9, 17, 16, 2, 32, 64},
};

static uint8_t *changed(const uint8_t *data, size_t size, size_t *file_size)
{
    const struct file f = file_of(choices[data[1] % 4]);
    uint8_t *file = make_parameters(f.sizes, data[1]);
    size_t at;

    for (at = 2; at + RECORD <= size; at += RECORD) {
        const uint8_t *r = data + at;
        const size_t index = r[1] | (size_t)r[2] << 8 | (size_t)r[3] << 16;
        const int64_t value = r[4] | (int64_t)r[5] << 8 | (int64_t)r[6] << 16 | (int64_t)r[7] << 24;
        const int table = r[0] % (TABLES + 1);

        if (table == TABLES) {
            file[index % HEADER_SIZE] = r[4];
        } else {
            put(file, &f, table, index % count_of(&f, table), value);
        }
    }
    *file_size = f.at[TABLES];
    return file;
}

/* Extreme and ordinary symbols, the same for the same sizes. */
static void fill_symbols(uint8_t *symbols, size_t total, unsigned levels, unsigned zero)
{
    uint64_t state = 0x9e3779b97f4a7c15u + levels;
    size_t i;

    for (i = 0; i < total; i++) {
        const unsigned kind = random_from(&state, 4);

        symbols[i] = (uint8_t)(kind == 0   ? zero
                               : kind == 1 ? random_from(&state, levels)
                               : kind == 2 ? levels - 1
                                           : 0);
    }
}

static void use(const struct prepared *p)
{
    static const int pair[] = {EDGECOMP_KERNELS_PORTABLE, EDGECOMP_KERNELS_AUTO};
    unsigned channels, levels, zero;
    size_t total, scratch, length[2], k;
    uint8_t *symbols, *workspace, *decoded, *code[2];

    CHECK(edgecomp_context_describe(p->data, p->size, &channels, &levels, &zero) == EDGECOMP_OK);
    CHECK(channels >= 1 && channels <= 256 && levels >= 2 && levels <= 256 && zero < levels);
    CHECK(edgecomp_context_workspace(p->data, p->size, SIDE, &scratch) == EDGECOMP_OK);
    total = channels * SIDE * SIDE;
    symbols = exactly(total);
    decoded = exactly(total);
    workspace = exactly(scratch);
    fill_symbols(symbols, total, levels, zero);
    for (k = 0; k < 2; k++) {
        code[k] = exactly(3 * total + 8);
        CHECK(edgecomp_context_encode(p->data, p->size, symbols, SIDE, SIDE, NULL, pair[k], workspace, scratch, code[k],
                                      3 * total + 8, &length[k]) == EDGECOMP_OK);
        CHECK(edgecomp_context_decode(p->data, p->size, code[k], length[k], SIDE, SIDE, NULL, pair[1 - k], workspace,
                                      scratch, decoded, total) == EDGECOMP_OK);
        CHECK(memcmp(symbols, decoded, total) == 0);
    }
    CHECK(length[0] == length[1] && memcmp(code[0], code[1], length[0]) == 0);
    free(symbols);
    free(decoded);
    free(workspace);
    free(code[0]);
    free(code[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct prepared p;
    uint8_t *file;
    size_t file_size = size - 1;
    int status;

    if (size < 2) {
        return 0;
    }
    if (data[0] % 2 != 0) {
        file = changed(data, size, &file_size);
    } else {
        file = exactly(file_size);
        memcpy(file, data + 1, file_size);
    }
    status = prepare(file, file_size, &p);
    CHECK(status == EDGECOMP_OK || status == EDGECOMP_CORRUPT_DATA);
    if (status == EDGECOMP_OK) {
        use(&p);
    }
    free_prepared(&p);
    free(file);
    return 0;
}
