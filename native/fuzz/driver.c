/*
 * driver.c: runs a fuzzing target without libFuzzer, with any compiler:
 *
 *     TARGET -seconds=N | -runs=N [-seed=N] FILE...
 *
 * Runs every file as it is, then mutations of them. There is no coverage to guide it. If the target fails, what it was
 * given is written to the file failed-input. Prints the number of executions.
 */
#include "check.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#define LONGEST (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
#ifdef __SANITIZE_ADDRESS__
void __sanitizer_set_death_callback(void (*callback)(void));
#endif

struct input {
    uint8_t *data;
    size_t size;
};

/* For the handlers of a failure, which are given nothing. */
static struct input current;

static void keep_current(void)
{
    FILE *file = fopen("failed-input", "wb");

    if (file != NULL) {
        fwrite(current.data, 1, current.size, file);
        fclose(file);
    }
}

static void on_abort(int number)
{
    keep_current();
    signal(number, SIG_DFL);
    raise(number);
}

/* At most LONGEST bytes of a file. */
static struct input read_input(const char *name)
{
    struct input in = {malloc(LONGEST), 0};
    FILE *file = fopen(name, "rb");

    if (file == NULL || in.data == NULL) {
        fprintf(stderr, "cannot read %s\n", name);
        exit(2);
    }
    in.size = fread(in.data, 1, LONGEST, file);
    fclose(file);
    return in;
}

/* One change to `in`, which has room for LONGEST bytes; `other` is an input to copy from. */
static void mutate(struct input *in, const struct input *other, uint64_t *state)
{
    static const uint8_t interesting[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff};
    const size_t at = in->size == 0 ? 0 : random_from(state, (unsigned)in->size);
    size_t some = 1 + random_from(state, 8);

    switch (random_from(state, 8)) {
    case 0: /* cut off */
        in->size = at;
        break;
    case 1: /* insert */
        some = in->size + some > LONGEST ? 0 : some;
        memmove(in->data + at + some, in->data + at, in->size - at);
        in->size += some;
        break;
    case 2: /* take out */
        some = some > in->size - at ? in->size - at : some;
        memmove(in->data + at, in->data + at + some, in->size - at - some);
        in->size -= some;
        break;
    case 3: /* go on as another input */
        if (other->size > at) {
            memcpy(in->data + at, other->data + at, other->size - at);
            in->size = other->size;
        }
        break;
    case 4: /* append noise */
        for (; some > 0 && in->size < LONGEST; some--) {
            in->data[in->size++] = (uint8_t)random_bits(state);
        }
        break;
    case 5:
        if (in->size != 0) {
            in->data[at] = interesting[random_from(state, sizeof interesting)];
        }
        break;
    case 6:
        if (in->size != 0) {
            in->data[at] = (uint8_t)random_bits(state);
        }
        break;
    default:
        if (in->size != 0) {
            in->data[at] ^= (uint8_t)(1u << random_from(state, 8));
        }
    }
}

/* Runs an allocation of exactly the input's size. */
static void run(const struct input *in)
{
    uint8_t *copy = exactly(in->size);

    if (in->size != 0) {
        memcpy(copy, in->data, in->size);
    }
    LLVMFuzzerTestOneInput(copy, in->size);
    free(copy);
}

int main(int argc, char **argv)
{
    const time_t begun = time(NULL);
    unsigned long long runs = 0, most = 0, seconds = 0, seed = 1;
    uint64_t state;
    struct input *kept = calloc((size_t)argc, sizeof *kept);
    unsigned files = 0, i;
    int a;

    CHECK(kept != NULL);
    for (a = 1; a < argc; a++) {
        if (sscanf(argv[a], "-runs=%llu", &most) != 1 && sscanf(argv[a], "-seconds=%llu", &seconds) != 1 &&
            sscanf(argv[a], "-seed=%llu", &seed) != 1) {
            kept[files++] = read_input(argv[a]);
        }
    }
    state = seed;
    if (files == 0 || state == 0) {
        fprintf(stderr, "usage: %s -seconds=N | -runs=N [-seed=N] FILE...\n", argv[0]);
        free(kept);
        return 2;
    }
    signal(SIGABRT, on_abort);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_set_death_callback(keep_current);
#endif
    for (i = 0; i < files; i++) {
        current = kept[i];
        run(&current);
        runs++;
    }
    current.data = malloc(LONGEST);
    CHECK(current.data != NULL);
    while (most != 0 ? runs < most : (unsigned long long)(time(NULL) - begun) < seconds) {
        const struct input *from = &kept[random_from(&state, files)];
        unsigned changes = 1 + random_from(&state, 6);

        memcpy(current.data, from->data, from->size);
        current.size = from->size;
        for (; changes > 0; changes--) {
            mutate(&current, &kept[random_from(&state, files)], &state);
        }
        run(&current);
        runs++;
    }
    printf("%llu executions\n", runs);
    free(current.data);
    for (i = 0; i < files; i++) {
        free(kept[i].data);
    }
    free(kept);
    return 0;
}
