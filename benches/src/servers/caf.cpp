// The peer in C++: an actor of CAF's, called as a program calls that is none itself. As
// genserver.exs it reads what to do and how often, and writes the nanoseconds of one.
#include <caf/all.hpp>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <string>

namespace {

caf::behavior counter(caf::stateful_actor<std::int64_t> *self) {
    self->state = 0;
    return {[self](std::int64_t by) { return self->state += by; }};
}

void call(caf::scoped_actor &self, const caf::actor &server) {
    self->request(server, caf::infinite, std::int64_t{1})
        .receive([](std::int64_t) {}, [](const caf::error &) { std::abort(); });
}

} // namespace

int main() {
    caf::actor_system_config config;
    config.set("scheduler.max-threads", 2);
    caf::actor_system system{config};
    caf::scoped_actor self{system};
    caf::actor server = self->spawn(counter);
    std::string what;
    std::size_t count = 0;
    while (std::cin >> what >> count) {
        const auto begin = std::chrono::steady_clock::now();
        for (std::size_t i = 0; i < count; i++) {
            if (what == "cast-then-call") self->send(server, std::int64_t{1});
            call(self, server);
        }
        const std::chrono::duration<double, std::nano> took =
            std::chrono::steady_clock::now() - begin;
        std::cout << took.count() / static_cast<double>(count) << std::endl;
    }
    self->send_exit(server, caf::exit_reason::user_shutdown);
}
