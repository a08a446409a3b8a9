// kvreg.hpp: servers that programs write in C++.

#include "kvreg.hpp"

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>

#include "check.h"

using namespace std::chrono_literals;
using namespace std::string_literals;

namespace {

constexpr bool it_throws = false; // where it has not

// The call throws kvreg::error with this status, and a text that has this in it.
template <class F> void throws(kvreg_status status, F call, std::string_view text = {}) {
    try {
        call();
    } catch (const kvreg::error &error) {
        CHECK(error.status() == status);
        CHECK(std::string_view(error.what()).find(text) != std::string_view::npos);
        return;
    }
    CHECK(it_throws);
}

std::atomic<int> made, gone;

// Whoever made one has seen it go, on whichever thread that was.
void all_are_gone() {
    check_patience patience = check_patiently();
    while (made != gone) CHECK(check_go_on(&patience));
}

struct counter {
    std::int64_t sum;
    std::optional<kvreg::reply> later{};

    explicit counter(std::int64_t begin = 0) : sum(begin) { made++; }
    counter(const counter &) = delete;
    counter &operator=(const counter &) = delete;
    ~counter() { gone++; }

    kvreg::verdict handle(const kvreg::message &message, kvreg::value &answer) {
        if (message.type() == KVREG_MESSAGE_DOWN) {
            sum += message.reason() == kvreg::reason::killed ? 1000 : 1;
            last = std::string(message.tag());
            return kvreg::verdict::keep;
        }
        const auto tag = message.tag();
        if (tag == "add") {
            for (std::size_t i = 0; i < message.size(); i++) sum += message.get<int>(i);
            answer = sum;
        } else if (tag == "sum") {
            answer = sum;
        } else if (tag == "last") {
            answer = last;
        } else if (tag == "echo") {
            answer = message.get(0);
        } else if (tag == "nothing") {
        } else if (tag == "two") {
            answer = message.get<std::string>(0) + message.get<std::string>(1);
        } else if (tag == "refuse") {
            throw kvreg::refused("not today");
        } else if (tag == "abort") {
            answer = "not at all";
            return kvreg::verdict::abort;
        } else if (tag == "throw") {
            throw std::out_of_range("beyond the end");
        } else if (tag == "throw a number") {
            throw 7;
        } else if (tag == "crash") {
            answer = "on purpose";
            return kvreg::verdict::crash;
        } else if (tag == "stop") {
            answer = sum;
            return kvreg::verdict::stop;
        } else if (tag == "later") {
            later.emplace(message.defer());
            return kvreg::verdict::later;
        } else if (tag == "now") {
            answer = std::exchange(later, std::nullopt)->send(sum);
        } else if (tag == "never") {
            answer = std::exchange(later, std::nullopt)->refuse("no more");
        } else if (tag == "forget") {
            later.reset();
        } else if (tag == "tick") {
            answer = static_cast<std::int64_t>(
                message.self().send_after(0ms, "ticked", message.get<int>(0)));
        } else if (tag == "ticked") {
            CHECK(message.type() == KVREG_MESSAGE_INFO);
            sum += message.reference() != 0 ? message.get<int>(0) : 0;
        } else if (tag == "twice") {
            message.self().send_next("add", 1);
            message.self().cast("add", 10);
        } else if (tag == "call me") {
            throws(KVREG_CALLING_SELF, [&] { message.self().call("sum"); });
            answer = *kvreg::server::self()->name();
        } else {
            return kvreg::verdict::unhandled;
        }
        return kvreg::verdict::keep;
    }

    std::string last{};
};

void calls_are_typed() {
    auto registry = kvreg::registry::start();
    auto hits = registry.start_server<counter>("hits", 10);
    CHECK(hits.call<std::int64_t>("add", 5) == 15);
    CHECK(hits.call<int>("add", 1, 2, 3) == 21 && hits.call<short>("sum") == 21);
    CHECK(hits.call("sum") == kvreg::value(std::int64_t{21}));
    hits.call<void>("add", 1);
    CHECK(!hits.call<std::optional<int>>("nothing") && hits.call("nothing") == kvreg::value());
    CHECK(hits.call<std::optional<int>>("sum") == 22);
    CHECK(hits.call<std::string>("two", "a", "b"s) == "ab");
    const std::string large(100'000, 'x');
    const auto shared = hits.call<kvreg::shared_value>("echo", large);
    CHECK(shared.text() == large);
    CHECK(hits.call<bool>("echo", true) && hits.call<double>("echo", 1.5) == 1.5);
    CHECK(hits.call("echo", nullptr) == kvreg::value());
    const kvreg::bytes raw{std::byte{0}, std::byte{255}};
    CHECK(hits.call<kvreg::bytes>("echo", raw) == raw);
    CHECK(hits.call<std::string>("echo", kvreg::value("t"s)) == "t");
    throws(KVREG_WRONG_TYPE, [&] { hits.call<std::string>("sum"); });
    throws(KVREG_INVALID_ARGUMENT, [&] { hits.call("echo", UINT64_MAX); });
    throws(KVREG_INVALID_ARGUMENT, [&] { hits.call(""); });
    throws(KVREG_UNSUPPORTED, [&] { hits.call("unknown"); });
    CHECK(registry.call<int>("hits", "sum") == 22);
    throws(KVREG_NOT_FOUND, [&] { registry.call("none", "sum"); });
    CHECK(registry.lookup_server("hits")->call<int>("sum") == 22);
    CHECK(!registry.lookup_server("none"));
    CHECK(registry.start_server<counter>("hits").call<int>("sum") == 22); // it is there
    kvreg::server_options options;
    options.start_flags = KVREG_CREATE_EXCLUSIVE;
    throws(KVREG_ALREADY_STARTED,
           [&] { registry.start_server_with<counter>("hits", options, 1); });
    for (auto &name : registry.servers()) CHECK(name == "hits");
    CHECK(hits.name() == "hits" && hits.info().handled > 0);
    registry.stop();
    throws(KVREG_NO_PROCESS, [&] { hits.call("sum"); });
    all_are_gone();
}

void exceptions_are_verdicts() {
    auto registry = kvreg::registry::start();
    auto inbox = kvreg::inbox::open();
    auto hits = registry.start_server<counter>("hits");
    throws(KVREG_ABORTED, [&] { hits.call("refuse"); }, "not today");
    throws(KVREG_ABORTED, [&] { hits.call("abort"); }, "not at all");
    throws(KVREG_ABORTED, [&] { hits.call("add", "text"); }, "type");
    throws(KVREG_ABORTED, [&] { hits.call("two", "one"); }, "missing");
    CHECK(hits.call<int>("sum") == 0);

    const std::pair<const char *, const char *> ends[] = {
        {"throw", "beyond the end"}, {"throw a number", ""}, {"crash", "on purpose"}};
    for (const auto &[tag, detail] : ends) {
        auto doomed = registry.start_server<counter>("doomed");
        const auto monitor = inbox.monitor(doomed);
        throws(KVREG_SERVER_DOWN, [&, said = tag] { doomed.call(said); });
        const auto down = inbox.receive(10s);
        CHECK(down->reference == monitor && down->reason == kvreg::reason::crashed);
        CHECK(down->detail == detail);
        CHECK(!registry.lookup_server("doomed"));
    }
    auto ends_well = registry.start_server<counter>("ends well", 3);
    (void)inbox.monitor(ends_well);
    CHECK(ends_well.call<int>("stop") == 3);
    CHECK(inbox.receive(10s)->reason == kvreg::reason::normal);
    registry.stop();
    all_are_gone();
}

struct picky {
    explicit picky(int number, std::atomic<int> *count) {
        ++*count;
        CHECK(kvreg::server::self()); // it is inside already
        if (number == 0) throw kvreg::refused("not zero");
        if (number < 0) throw std::invalid_argument("negative");
    }
    kvreg::verdict handle(const kvreg::message &, kvreg::value &) { return kvreg::verdict::crash; }
};

void what_a_constructor_throws_comes_out() {
    auto registry = kvreg::registry::start();
    std::atomic<int> count{0};
    try {
        registry.start_server<picky>("picky", -1, &count);
        CHECK(it_throws);
    } catch (const std::invalid_argument &error) {
        CHECK(error.what() == "negative"s);
    }
    try {
        kvreg::server::start<picky>(0, &count);
        CHECK(it_throws);
    } catch (const kvreg::refused &error) {
        CHECK(error.what() == "not zero"s);
    }
    CHECK(!registry.lookup_server("picky") && count == 2);
    CHECK(!kvreg::server::self()); // this thread is in none
    throws(KVREG_BAD_HANDLE, [&] {
        kvreg::registry(nullptr).start_server<picky>("picky", 1, &count);
    });
    registry.create("bucket");
    throws(KVREG_WRONG_KIND, [&] { registry.start_server<picky>("bucket", 1, &count); });
    CHECK(count == 2);
    registry.stop();
}

void a_restart_makes_it_anew() {
    auto registry = kvreg::registry::start();
    kvreg::server_options options;
    options.restart = KVREG_TRANSIENT;
    auto hits = registry.start_server_with<counter>("hits", options, 10);
    CHECK(hits.call<int>("add", 5) == 15);
    throws(KVREG_SERVER_DOWN, [&] { hits.call("throw"); });
    CHECK(registry.call<int>("hits", "sum") == 10);
    throws(KVREG_NO_PROCESS, [&] { hits.call("sum"); });
    CHECK(registry.lookup_server("hits")->info().restarts == 1);
    throws(KVREG_INVALID_ARGUMENT, [&] { kvreg::server::start_with<counter>(options); });
    registry.stop();
    all_are_gone();
}

void casts_infos_and_timers() {
    auto hits = kvreg::server::start<counter>();
    hits.cast("add", 1);
    hits.send("add", 2, 3);
    CHECK(hits.call<int>("sum") == 6);
    hits.cast("refuse"); // logged
    hits.cast("unknown");
    hits.call("twice");
    CHECK(hits.call<int>("sum") == 17);
    throws(KVREG_INVALID_ARGUMENT, [&] { hits.send_next("add", 1); }); // not from outside
    hits.call("tick", 100);
    check_patience patience = check_patiently();
    while (hits.call<int>("sum") != 117) CHECK(check_go_on(&patience));
    const auto timer = hits.send_after(1h, "add", 1);
    const auto left = hits.cancel(timer);
    CHECK(left && *left <= 1h && *left > 50min);
    CHECK(!hits.cancel(timer));
    CHECK(!kvreg::server::start<counter>().name());
    hits.stop();
    all_are_gone();
}

void answers_come_later() {
    auto registry = kvreg::registry::start();
    auto hits = registry.start_server<counter>("hits", 4);
    auto inbox = kvreg::inbox::open();
    const auto answered = [&] {
        auto event = *inbox.receive(10s);
        CHECK(event.type == KVREG_EVENT_REPLY);
        return event;
    };
    auto first = inbox.request(hits, "later");
    CHECK(hits.call<bool>("now")); // the call takes what is queued first
    auto event = answered();
    CHECK(event.reference == first && event.status == KVREG_OK);
    CHECK(event.value == kvreg::value(std::int64_t{4}));
    (void)inbox.request(hits, "later");
    CHECK(hits.call<bool>("never"));
    event = answered();
    CHECK(event.status == KVREG_ABORTED && event.detail == "no more");
    (void)inbox.request(hits, "later");
    hits.call("forget");
    CHECK(answered().status == KVREG_ABORTED);
    first = inbox.request(hits, "later");
    hits.call("sum");
    CHECK(!inbox.abandon(first)); // it had begun
    CHECK(!hits.call<bool>("now") && !inbox.abandon(first));
    std::thread waits([&] { CHECK(hits.call<int>("later") == 4); });
    check_patience patience = check_patiently();
    while (hits.info().handled < 10) CHECK(check_go_on(&patience));
    CHECK(hits.call<bool>("now"));
    waits.join();
    registry.stop();
    all_are_gone();
}

void life_and_death() {
    auto registry = kvreg::registry::start();
    auto watcher = registry.start_server<counter>("watcher");
    auto bucket = registry.create("shopping");
    auto hits = registry.start_server<counter>("hits");
    const auto reference = watcher.monitor(bucket);
    (void)watcher.monitor(hits);
    watcher.demonitor(watcher.monitor(hits));
    CHECK(reference != 0);
    bucket.exit(kvreg::reason::killed);
    CHECK(watcher.call<std::string>("last") == "shopping" && watcher.call<int>("sum") == 1000);
    hits.stop();
    CHECK(watcher.call<std::string>("last") == "hits" && watcher.call<int>("sum") == 1001);
    (void)watcher.monitor(hits); // it has ended: told at once
    CHECK(watcher.call<int>("sum") == 1002);

    auto other = kvreg::server::start<counter>();
    auto garage = registry.create("garage");
    other.link(watcher);
    other.link(garage);
    other.unlink(garage);
    kvreg::server_ref(registry).unlink(other); // there is none
    watcher.exit(kvreg::reason::killed, "on purpose");
    throws(KVREG_NO_PROCESS, [&] { other.call("sum"); });
    garage.put("k", 1);
    throws(KVREG_UNSUPPORTED, [&] { kvreg::server_ref(garage).call("sum"); });
    auto clone = kvreg::server_ref(garage).clone();
    CHECK(clone.name() == "garage");
    clone.stop();
    throws(KVREG_NO_PROCESS, [&] { garage.put("k", 1); });
    throws(KVREG_BAD_HANDLE, [&] { kvreg::server(nullptr).call("sum"); });
    registry.stop();
    all_are_gone();
}

void the_own_server_is_known() {
    auto registry = kvreg::registry::start();
    auto hits = registry.start_server<counter>("hits");
    hits.set_timeout(100ms);
    CHECK(hits.call<std::string>("call me") == "hits");
    throws(KVREG_UNSUPPORTED, [&] { (void)hits.begin(); }); // it is by callbacks
    registry.stop();
    all_are_gone();
}

struct ends_in_order {
    std::atomic<int> *reason;
    kvreg::verdict handle(const kvreg::message &message, kvreg::value &) {
        CHECK(message.type() == KVREG_MESSAGE_TERMINATE);
        *reason = static_cast<int>(message.reason());
        throw std::runtime_error("while it ends");
    }
    explicit ends_in_order(std::atomic<int> *told) : reason(told) {}
};

void a_server_is_told_that_it_ends() {
    kvreg::server_options options;
    options.flags = KVREG_SERVER_WANTS_TERMINATE;
    std::atomic<int> reason{-1};
    auto server = kvreg::server::start_with<ends_in_order>(options, &reason);
    throws(KVREG_SERVER_DOWN, [&] { server.stop(); });
    CHECK(reason == KVREG_REASON_NORMAL);
}

void turns() {
    auto registry = kvreg::registry::start();
    auto inbox = kvreg::inbox::open();
    kvreg::server_options options;
    options.inbox = inbox.get();
    options.key = 42;
    auto [hits, first] = registry.start_server_by_turns("hits", options);
    counter state(10);
    CHECK(first);
    first->end();
    CHECK(!registry.start_server_by_turns("hits", options).second);

    hits.cast("add", 5);
    auto mail = inbox.receive(10s);
    CHECK(mail->type == KVREG_EVENT_MAIL && mail->reference == 42);
    {
        auto turn = hits.begin();
        CHECK(turn.serve(state) == 1 && turn.serve(state) == 0 && state.sum == 15);
        std::thread([&, &served = hits] { CHECK(!served.try_begin()); }).join();
        throws(KVREG_CALLING_SELF, [&, &served = hits] { served.call("sum"); });
    }
    const auto reference = inbox.request(hits, "add", 1);
    const auto refused = inbox.request(hits, "refuse");
    CHECK(hits.try_begin()->serve(state) == 2);
    CHECK(inbox.receive(10s)->type == KVREG_EVENT_MAIL);
    auto event = inbox.receive(10s);
    CHECK(event->reference == reference && event->value == kvreg::value(std::int64_t{16}));
    event = inbox.receive(10s);
    CHECK(event->reference == refused && event->status == KVREG_ABORTED);
    CHECK(event->detail == "not today");

    CHECK(hits.begin().run([&] { return state.sum += 1; }) == 17);
    hits.begin().run([&] { state.sum++; });
    try {
        hits.begin().run([] { throw kvreg::refused("not now"); });
        CHECK(it_throws);
    } catch (const kvreg::refused &) {
    }
    auto [later, reply] = hits.begin().defer(inbox);
    CHECK(reply.send(state.sum));
    event = inbox.receive(10s);
    CHECK(event->reference == later && event->value == kvreg::value(std::int64_t{18}));
    auto detached = hits.begin();
    detached.detach();
    std::thread([&] { detached.end(); }).join();
    hits.begin().end(kvreg::verdict::stop);
    throws(KVREG_NO_PROCESS, [&, &served = hits] { (void)served.begin(); });
    registry.stop();
}

void an_exception_ends_a_turn() {
    auto registry = kvreg::registry::start();
    auto inbox = kvreg::inbox::open();
    const auto start = [&] { return registry.start_server_by_turns("hits").first; };
    const auto ended = [&](std::string_view detail) {
        const auto down = inbox.receive(10s);
        CHECK(down->reason == kvreg::reason::crashed && down->detail == detail);
    };
    auto hits = start(); // its first turn has ended with what the call gave: it has begun
    (void)inbox.monitor(hits);
    try {
        auto turn = hits.begin();
        throw std::runtime_error("half way");
    } catch (const std::runtime_error &) {
    }
    ended("its turn was given up");
    hits = start();
    (void)inbox.monitor(hits);
    try {
        hits.begin().run([] { throw std::runtime_error("half way"); });
        CHECK(it_throws);
    } catch (const std::runtime_error &) {
    }
    ended("half way");
    hits = start();
    (void)inbox.monitor(hits);
    counter state;
    hits.cast("throw");
    hits.cast("add", 1);
    throws(KVREG_SERVER_DOWN, [&] { hits.begin().serve(state); });
    ended("beyond the end");
    CHECK(state.sum == 0);
    try { // while an exception passes, another turn may be had, and kept
        struct tidy {
            kvreg::server &server;
            ~tidy() { auto turn = server.begin(); }
        };
        hits = start();
        tidy at_the_end{hits};
        throw std::runtime_error("elsewhere");
    } catch (const std::runtime_error &) {
    }
    CHECK(hits.try_begin());
    // A start that fails.
    try {
        auto [server, turn] = registry.start_server_by_turns("never");
        turn->run([] { throw std::runtime_error("no"); });
    } catch (const std::runtime_error &) {
    }
    CHECK(!registry.lookup_server("never"));
    auto [alone, turn] = kvreg::server::start_by_turns();
    turn.end(kvreg::verdict::abort, "not today");
    throws(KVREG_NO_PROCESS, [&, &server = alone] { server.call("sum"); });
    registry.stop();
}

void callers_on_many_threads() {
    auto registry = kvreg::registry::start();
    auto hits = registry.start_server<counter>("hits");
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) {
        threads.emplace_back([&] {
            for (int n = 0; n < 1000; n++) {
                if (n % 10 == 0) throws(KVREG_ABORTED, [&] { hits.call("refuse"); });
                hits.call("add", 1);
                hits.cast("add", 1);
            }
        });
    }
    for (auto &thread : threads) thread.join();
    CHECK(hits.call<int>("sum") == 8000);
    registry.stop();
    all_are_gone();
}

} // namespace

int main() {
    const test tests[] = {
        TEST(calls_are_typed),
        TEST(exceptions_are_verdicts),
        TEST(what_a_constructor_throws_comes_out),
        TEST(a_restart_makes_it_anew),
        TEST(casts_infos_and_timers),
        TEST(answers_come_later),
        TEST(life_and_death),
        TEST(the_own_server_is_known),
        TEST(a_server_is_told_that_it_ends),
        TEST(turns),
        TEST(an_exception_ends_a_turn),
        TEST(callers_on_many_threads),
    };
    return check_run(tests, sizeof tests / sizeof *tests);
}
