#include "team.hpp"

#include <unistd.h>

#include <cfenv>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace {

// A thread that waits looks again and again for so long before it sleeps. Between two loops of a step pass a few
// microseconds, and to wake a thread takes longer.
constexpr std::chrono::microseconds PATIENCE(50);

template <typename Condition>
void await_briefly(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + PATIENCE;
    do {
        if (condition()) return;
        std::this_thread::yield();
    } while (std::chrono::steady_clock::now() < end);
}

class Team {
  public:
    void run(int threads, void (*run)(void*, int), void* context) {
        {
            std::lock_guard<std::mutex> lock(mutex);
            for (; n_helpers < threads - 1; ++n_helpers) try {
                    std::thread(&Team::help, this).detach();
                } catch (const std::system_error&) {
                    break;
                }
            this->work = run;
            this->context = context;
            fegetenv(&float_mode);
            n_begun = 0;
            n_open = threads - 1;
        }
        opened.notify_all();
        run(context, 0);
        std::unique_lock<std::mutex> lock(mutex);
        n_open = 0;
        if (n_busy == 0) return;
        lock.unlock();
        await_briefly([&] { return n_busy == 0; });
        lock.lock();
        ended.wait(lock, [&] { return n_busy == 0; });
    }

  private:
    void help() {
        while (true) {
            await_briefly([&] { return n_open > 0; });
            std::unique_lock<std::mutex> lock(mutex);
            opened.wait(lock, [&] { return n_open > 0; });
            --n_open;
            ++n_busy;
            const int thread = ++n_begun;
            fesetenv(&float_mode);
            lock.unlock();
            work(context, thread);
            lock.lock();
            --n_busy;
            lock.unlock();
            ended.notify_one();
        }
    }

    std::mutex mutex;
    std::condition_variable opened, ended;
    int n_helpers = 0, n_begun = 0;
    std::atomic<int> n_open{0};  // helpers that may still begin
    std::atomic<int> n_busy{0};  // helpers that have begun and not ended
    void (*work)(void*, int) = nullptr;
    void* context = nullptr;
    std::fenv_t float_mode;
};

std::mutex in_use;
// Never deleted, because its threads run until the process ends.
Team* team = nullptr;
pid_t process = 0;

}  // namespace

void run_on_team(int threads, void (*run)(void* context, int thread), void* context) {
    std::unique_lock<std::mutex> lock(in_use, std::try_to_lock);
    if (!lock.owns_lock()) return run(context, 0);
    if (process != getpid()) {  // a forked process has none of the threads
        team = new Team;
        process = getpid();
    }
    team->run(threads, run, context);
}
