// Whole steps of a training and the scoring of images, called from search/engine/native/training.py.

#include "images.hpp"
#include "loss.hpp"
#include "optimizers.hpp"
#include "program.hpp"

// Settings and memory of the steps of an epoch. Mirrored in search/engine/native/structures.py.
struct Training {
    Program* program;
    Images images;
    Optimizer optimizer;
    float* sums;  // gradients of parameters and statistics, which are added to
    int64_t n_sums, n_images, batch_size, n_seeds;
    int64_t n_steps_before;    // number of steps of earlier epochs
    const int64_t* order;      // (n_images,)
    const Change* changes;     // (n_images,) in the order of `order`, or null
    const uint64_t* seeds;     // (steps, n_seeds)
    const double *lr, *momentum, *average_weight;  // (steps,)
    double* losses;            // (steps,)
    int64_t* correct;          // (steps,)
    float smoothing;
};

extern "C" {

int32_t lanes() { return LANES; }

// Returns null if memory ran out.
void* program_new(const Operation* operations, int32_t n_operations, const Value* values, int32_t n_values) {
    Program* program = nullptr;
    OutOfMemory::check([&](OutOfMemory&) { program = new Program(operations, n_operations, values, n_values); });
    return program;
}

void program_delete(void* program) { delete (Program*)program; }

// The functions below return 1 if memory ran out, else 0.

// Runs the program on the images that its first value holds.
int32_t program_forward(void* handle, int32_t images, const uint64_t* seeds, int32_t threads) {
    return OutOfMemory::check([&](OutOfMemory& memory) {
        Program& program = *(Program*)handle;
        program.set_batch(images, seeds);
        program.forward(threads, memory);
    });
}

int32_t program_backward(void* handle, int32_t threads) {
    return OutOfMemory::check([&](OutOfMemory& memory) { ((Program*)handle)->backward(threads, memory); });
}

// Computes the gradients of a step, and takes it if `whole` is not 0.
int32_t training_step(const Training* t, int64_t step, int32_t whole, int32_t threads) {
    return OutOfMemory::check([&](OutOfMemory& memory) {
        Program& program = *t->program;
        const int64_t first = step * t->batch_size;
        const int images = (int)std::min(t->batch_size, t->n_images - first);
        const int64_t* index = t->order + first;
        program.set_batch(images, t->seeds + step * t->n_seeds);
        read_images(t->images, index, t->changes ? t->changes + first : nullptr, images, program.input().maps, threads,
                    memory);
        program.forward(threads, memory);
        const Score score =
            cross_entropy(program.output(), program.n_outputs(), t->images.labels, index, images, t->smoothing);
        t->losses[step] = score.loss;
        t->correct[step] = score.correct;
        std::fill_n(t->sums, t->n_sums, 0.0f);
        program.backward(threads, memory);
        if (!whole) return;
        if (t->optimizer.kind == SOAP) add_to_covariances(t->optimizer);
        take_step(t->optimizer, t->lr[step], t->momentum[step], t->n_steps_before + step + 1);
        move_averages(t->optimizer, (float)t->average_weight[step]);
    });
}

// Parts of a step of the optimizer, between which PyTorch computes SOAP's bases.
int32_t optimizer_add_to_covariances(const Optimizer* optimizer) {
    return OutOfMemory::check([&](OutOfMemory&) { add_to_covariances(*optimizer); });
}

int32_t optimizer_rotate_means(const Optimizer* optimizer, int32_t into) {
    return OutOfMemory::check([&](OutOfMemory&) { rotate_means(*optimizer, into); });
}

int32_t optimizer_step(const Optimizer* optimizer, double lr, double momentum, int64_t number, double average_weight) {
    return OutOfMemory::check([&](OutOfMemory&) {
        take_step(*optimizer, lr, momentum, number);
        move_averages(*optimizer, (float)average_weight);
    });
}

// Writes the images that `order` names to `to`, in blocks.
int32_t images_read(const Images* images, const int64_t* order, const Change* changes, int32_t n, float* to,
                    int32_t threads) {
    return OutOfMemory::check(
        [&](OutOfMemory& memory) { read_images(*images, order, changes, n, (Vec*)to, threads, memory); });
}

// Writes the classes that the program gives the n first images to `answers`, batch by batch.
int32_t program_answers(void* handle, const Images* images, const int64_t* order, int64_t n, int64_t batch_size,
                        int64_t* answers, int32_t threads) {
    return OutOfMemory::check([&](OutOfMemory& memory) {
        Program& program = *(Program*)handle;
        for (int64_t first = 0; first < n; first += batch_size) {
            const int count = (int)std::min(batch_size, n - first);
            program.set_batch(count, nullptr);
            read_images(*images, order + first, nullptr, count, program.input().maps, threads, memory);
            program.forward(threads, memory);
            find_answers(program.output().maps, program.n_outputs(), count, answers + first);
        }
    });
}

}  // extern "C"
