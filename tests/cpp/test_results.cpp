// kvreg.hpp without exceptions: every call gives a result.

#include "kvreg.hpp"

#include <cstdlib>

#include "check.h"

namespace {

void calls_give_results() {
    auto registry = kvreg::registry::start();
    CHECK(registry && registry.status() == KVREG_OK);
    auto bucket = registry->create("b");
    CHECK(bucket && bucket->put("milk", 1) && bucket->put_many({{"a", 1.5}, {"t", "text"}}));
    CHECK(**bucket->get<int>("milk") == 1 && !bucket->get("absent")->has_value());
    CHECK(**bucket->erase<std::string>("t") == "text");
    CHECK(*registry->lookup("b")->value().count() == 2);
    CHECK(*bucket->name().value() == "b" && *registry->remove("b") && !*registry->remove("b"));
    CHECK(!*registry->erase("b"));
    auto put = bucket->put("milk", 2);
    CHECK(!put && put.status() == KVREG_NO_PROCESS && put.failure().what()[0] != 0);
    CHECK(kvreg::bucket(nullptr).clone().status() == KVREG_BAD_HANDLE);
    CHECK(registry->execute("GET b k").value() == "NOT FOUND\r\n");
    CHECK(registry->stop());
}

void what_cannot_be_stored_is_a_result() {
    auto bucket = *kvreg::bucket::start();
    const char *unset = nullptr;
    CHECK(bucket.put("k", unset).status() == KVREG_INVALID_ARGUMENT);
    CHECK(bucket.put(unset, 1).status() == KVREG_INVALID_ARGUMENT);
    CHECK(bucket.put("k", UINT64_MAX).status() == KVREG_INVALID_ARGUMENT);
    CHECK(bucket.put_many({{"k", UINT64_MAX}}).status() == KVREG_INVALID_ARGUMENT);
    auto stored = bucket.update("k", [&](auto) { return unset; });
    CHECK(stored.status() == KVREG_INVALID_ARGUMENT);
    stored = bucket.update("k", [](auto) { return UINT64_MAX; });
    CHECK(stored.status() == KVREG_INVALID_ARGUMENT && *bucket.count() == 0);
    CHECK(bucket.put("k", 300));
    CHECK(bucket.get<signed char>("k").status() == KVREG_WRONG_TYPE);
    CHECK(bucket.update<std::string>("k", [](auto) { return 1; }).status() == KVREG_WRONG_TYPE);
    CHECK(bucket.update<int>("k", [](auto n) { return *n + 1; }) && **bucket.get<int>("k") == 301);
}

void conflicts_are_results() {
    auto bucket = *kvreg::bucket::start();
    CHECK(!*bucket.entry("k") && *bucket.revision() == 0);
    const auto first = *bucket.put("k", 1, kvreg::if_absent);
    CHECK(bucket.put("k", 2, kvreg::if_absent).status() == KVREG_CONFLICT);
    const auto second = *bucket.put_entry("k", "two");
    CHECK(bucket.put("k", 2, kvreg::if_revision(first)).status() == KVREG_CONFLICT);
    CHECK(bucket.erase("k", kvreg::if_revision(first)).status() == KVREG_CONFLICT);
    CHECK((*bucket.entry("k"))->revision == second && *bucket.revision() == second);
    CHECK(**bucket.erase("k", kvreg::if_revision(second)) == kvreg::value(std::string("two")));
    CHECK(*bucket.compare_and_swap("k", std::nullopt, 1));
    CHECK(!*bucket.compare_and_swap("k", std::nullopt, 1));
    CHECK(*bucket.add("k", 2) == 3 && bucket.add("k", INT64_MAX).status() == KVREG_LIMIT);
}

void casts_and_snapshots() {
    auto bucket = *kvreg::bucket::start();
    auto inbox = *kvreg::inbox::open();
    const auto reference = *inbox.monitor(bucket);
    CHECK(bucket.update_cast("k", [](auto) { return "text"; }));
    CHECK(**bucket.get<std::string>("k") == "text");
    auto items = *bucket.items();
    CHECK((*items.next())->first == "k" && !*items.next());
    auto scan = bucket.scan("k");
    CHECK((*scan.next())->first == "k" && !*scan.next());
    CHECK(kvreg::bucket(nullptr).scan().next().status() == KVREG_BAD_HANDLE);
    CHECK(bucket.update_cast<int>("k", [](auto) { return 1; })); // no integer is there
    auto down = *inbox.receive();
    CHECK(down->reference == reference && down->reason == kvreg::reason::crashed);
    CHECK(!inbox.receive(kvreg::milliseconds(0))->has_value());
}

struct counter {
    std::int64_t sum = 0;
    kvreg::verdict handle(const kvreg::message &message, kvreg::value &answer) {
        if (message.tag() != "add") return kvreg::verdict::unhandled;
        auto by = message.get<std::int64_t>(0);
        if (!by) {
            answer = by.failure().what();
            return kvreg::verdict::abort;
        }
        answer = sum += *by;
        return kvreg::verdict::keep;
    }
};

void servers_give_results() {
    auto registry = *kvreg::registry::start();
    auto hits = registry.start_server<counter>("hits");
    CHECK(hits && *hits->call<int>("add", 5) == 5 && hits->call<void>("add", 1));
    CHECK(hits->call("add", "text").status() == KVREG_ABORTED);
    CHECK(hits->call("none").status() == KVREG_UNSUPPORTED);
    CHECK(hits->call<std::string>("add", 1).status() == KVREG_WRONG_TYPE);
    CHECK(hits->cast("add", 1) && *registry.call<int>("hits", "add", 1) == 9);
    CHECK(kvreg::registry(nullptr).start_server<counter>("hits").status() == KVREG_BAD_HANDLE);
    CHECK(!*kvreg::server::self() && hits->stop());
    CHECK(hits->stop().status() == KVREG_NO_PROCESS);

    auto started = registry.start_server_by_turns("hits");
    auto &[server, first] = *started;
    CHECK(first && first->end());
    counter state;
    CHECK(server.cast("add", 2));
    {
        auto turn = *server.begin();
        CHECK(*turn.serve(state) == 1 && state.sum == 2);
        CHECK(*turn.run([&] { return state.sum; }) == 2 && !turn);
    }
    CHECK(*server.try_begin());
    CHECK(registry.stop());
}

void attempt_passes_results_on() {
    auto bucket = *kvreg::bucket::start();
    auto got = kvreg::attempt([&] { return bucket.get<int>("absent"); });
    CHECK(got && !*got);
    CHECK(kvreg::attempt([&] { return kvreg::bucket(nullptr).clear(); }).status() ==
          KVREG_BAD_HANDLE);
}

} // namespace

int main() {
    const test tests[] = {
        TEST(calls_give_results),
        TEST(what_cannot_be_stored_is_a_result),
        TEST(conflicts_are_results),
        TEST(casts_and_snapshots),
        TEST(servers_give_results),
        TEST(attempt_passes_results_on),
    };
    return check_run(tests, sizeof tests / sizeof *tests);
}
