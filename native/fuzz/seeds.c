/*
 * seeds.c: writes the inputs that corpus/ begins with: FOLDER/decode/, FOLDER/prepare/ and FOLDER/unpack/ must exist.
 * Codes and packed volumes of real symbols, small parameter files, changes to such.
 */
#include "models.h"

#define SIDE 5u

static void write_seed(const char *folder, const char *target, unsigned number, const uint8_t *head, size_t head_size,
                       const uint8_t *body, size_t size)
{
    char name[4096];
    FILE *file;

    snprintf(name, sizeof name, "%s/%s/seed-%02u", folder, target, number);
    file = fopen(name, "wb");
    CHECK(file != NULL);
    CHECK(fwrite(head, 1, head_size, file) == head_size && fwrite(body, 1, size, file) == size);
    CHECK(fclose(file) == 0);
}

/* Mostly zero, as the symbols of pictures are. */
static void fill_symbols(uint8_t *symbols, const struct sizes *s, uint64_t *state)
{
    size_t i;

    for (i = 0; i < s->channels * SIDE * SIDE; i++) {
        symbols[i] = (uint8_t)(random_from(state, 3) != 0 ? s->zero : random_from(state, s->levels));
    }
}

static void codes(const char *folder)
{
    uint64_t state = 99;
    unsigned m;

    for (m = 0; m < MODELS; m++) {
        const uint8_t head[] = {(uint8_t)m, SIDE, SIDE, 0};
        const size_t total = models[m].channels * SIDE * SIDE;
        uint8_t *file = make_parameters(models[m], m + 1), *symbols = exactly(total), *code = exactly(3 * total + 8);
        uint8_t *workspace;
        size_t scratch, length;
        struct prepared p;

        CHECK(prepare(file, file_of(models[m]).at[TABLES], &p) == EDGECOMP_OK);
        CHECK(edgecomp_context_workspace(p.data, p.size, SIDE, &scratch) == EDGECOMP_OK);
        workspace = exactly(scratch);
        fill_symbols(symbols, &models[m], &state);
        CHECK(edgecomp_context_encode(p.data, p.size, symbols, SIDE, SIDE, NULL, 0, workspace, scratch, code,
                                      3 * total + 8, &length) == EDGECOMP_OK);
        write_seed(folder, "decode", m, head, sizeof head, code, length);
        free(file);
        free(symbols);
        free(code);
        free(workspace);
        free_prepared(&p);
    }
}

static void parameters(const char *folder)
{
    static const struct sizes smallest = {1, 2, 0, 1, 32, 32};
    const uint8_t whole = 0;
    uint8_t *file = make_parameters(smallest, 1);
    unsigned choice, table;

    write_seed(folder, "prepare", 0, &whole, 1, file, file_of(smallest).at[TABLES]);
    free(file);
    for (choice = 0; choice < 4; choice++) {
        uint8_t records[8 * (TABLES + 1)] = {0};

        for (table = 0; table < TABLES; table++) {
            records[8 * table] = (uint8_t)table;
            records[8 * table + 1] = (uint8_t)(choice * 5 + table);
            records[8 * table + 4] = (uint8_t)(table == ORDER ? 0 : 1 + choice);
        }
        write_seed(folder, "prepare", 1 + choice, (const uint8_t[]){1, (uint8_t)choice}, 2, records + 8 * choice,
                   8 * (TABLES - choice - 1));
    }
}

static void packed(const char *folder)
{
    static const struct sizes volumes[] = {{1, 2, 0, 0, 0, 0}, {3, 6, 2, 0, 0, 0}, {8, 256, 128, 0, 0, 0}};
    uint64_t state = 98;
    unsigned i;

    for (i = 0; i < 6; i++) {
        const struct sizes *s = &volumes[i / 2];
        const uint8_t head[] = {(uint8_t)s->channels, SIDE, SIDE, (uint8_t)(s->levels - 2), (uint8_t)s->zero, 0};
        uint8_t symbols[8 * SIDE * SIDE], out[2000];
        uint32_t workspace[SIDE * SIDE];
        const int layout = i % 2 != 0 ? EDGECOMP_LAYOUT_SORTED : EDGECOMP_LAYOUT_DENSE;
        size_t length;

        fill_symbols(symbols, s, &state);
        CHECK(edgecomp_pack(symbols, s->channels, SIDE, SIDE, s->levels, s->zero, NULL, layout, workspace,
                            SIDE * SIDE, out, sizeof out, &length) == EDGECOMP_OK);
        write_seed(folder, "unpack", i, head, sizeof head, out, length);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    codes(argv[1]);
    parameters(argv[1]);
    packed(argv[1]);
    return 0;
}
