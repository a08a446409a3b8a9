// A pool of connections with supervision, for C++17.
//
//     c++ -std=c++17 connection_pool.cpp -pthread $(pkg-config --cflags --libs kvreg) && ./a.out
//
// A connection is a server; the registry starts one again that breaks. The pool is a server too. It
// lends connections to sessions, by their names, and monitors both sorts: what a session had that
// ended comes back, whether it was returned or not, and a connection that broke is another process
// under its old name. Who finds none free waits in line: its answer comes later.

#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kvreg.hpp"

// Stands for one to a database, which breaks now and then.
class connection {
public:
    kvreg::verdict handle(const kvreg::message &message, kvreg::value &answer) {
        if (message.tag() != "query") return kvreg::verdict::unhandled;
        const auto number = message.get<std::int64_t>(0);
        if (number % 17 == 0) throw std::runtime_error("the connection was reset");
        answer = number * number;
        return kvreg::verdict::keep;
    }
};

class pool {
public:
    pool(std::shared_ptr<kvreg::registry> registry, int size) : registry_(std::move(registry)) {
        kvreg::server_options options;
        options.restart = KVREG_TRANSIENT;
        options.max_restarts = 1000;
        const auto self = kvreg::server::self();
        for (int i = 1; i <= size; ++i) {
            const auto name = "connection " + std::to_string(i);
            watch(*self, name, registry_->start_server_with<connection>(name, options));
            free_.push_back(name);
        }
    }

    kvreg::verdict handle(const kvreg::message &message, kvreg::value &answer) {
        if (message.type() == KVREG_MESSAGE_DOWN) {
            down(message);
        } else if (message.tag() == "borrow") {
            return borrow(message, answer);
        } else if (message.tag() == "return") {
            give_back(message.get<std::string>(0));
        } else if (message.tag() == "free") {
            answer = static_cast<std::int64_t>(free_.size());
        } else if (message.tag() == "broken") {
            answer = broken_;
        } else {
            return kvreg::verdict::unhandled;
        }
        return kvreg::verdict::keep;
    }

private:
    struct waiting {
        std::string session;
        kvreg::reply reply;
    };

    template <class S>
    void watch(const S &self, const std::string &name, const kvreg::server &server) {
        connections_[self.monitor(server)] = name;
    }

    kvreg::verdict borrow(const kvreg::message &message, kvreg::value &answer) {
        auto session = message.get<std::string>(0);
        const auto there = registry_->lookup(session);
        if (!there) throw kvreg::refused("there is no session " + session);
        if (sessions_.count(session) == 0)
            sessions_[session] = message.self().monitor(*there);
        if (free_.empty()) {
            line_.push_back({session, message.defer()});
            return kvreg::verdict::later;
        }
        answer = lend(session);
        return kvreg::verdict::keep;
    }

    std::string lend(const std::string &session) {
        auto name = free_.front();
        free_.pop_front();
        lent_[name] = session;
        return name;
    }

    void give_back(const std::string &name) {
        if (lent_.erase(name) == 0) return; // returned, and taken back
        free_.push_back(name);
        while (!line_.empty() && !free_.empty()) {
            auto first = std::move(line_.front());
            line_.pop_front();
            const auto lent = lend(first.session);
            if (!first.reply.send(lent)) { // nobody waits any more
                lent_.erase(lent);
                free_.push_front(lent);
            }
        }
    }

    void down(const kvreg::message &message) {
        const auto found = connections_.find(message.reference());
        if (found != connections_.end()) {
            const auto name = found->second;
            connections_.erase(found);
            ++broken_;
            // The name is another process's already, unless there were too many.
            if (auto again = registry_->lookup_server(name)) watch(message.self(), name, *again);
            return;
        }
        const std::string session(message.tag());
        const auto known = sessions_.find(session);
        if (known == sessions_.end() || known->second != message.reference()) return;
        sessions_.erase(known);
        std::set<std::string> had;
        for (const auto &[name, whose] : lent_)
            if (whose == session) had.insert(name);
        for (const auto &name : had) give_back(name);
    }

    // Shared, for a handler may still run when main has ended.
    std::shared_ptr<kvreg::registry> registry_;
    std::deque<std::string> free_;
    std::deque<waiting> line_;
    std::map<std::string, std::string> lent_;          // and to which session
    std::map<std::uint64_t, std::string> connections_; // by their monitors
    std::map<std::string, std::uint64_t> sessions_;    // their monitors
    std::int64_t broken_ = 0;
};

struct counts {
    int answered = 0, broken = 0, died = 0;
};

// A session of some jobs. It returns what it borrowed, unless it dies of a job.
counts work(kvreg::registry &registry, const kvreg::server &pool, int first, int jobs) {
    counts mine;
    const auto session = "session " + std::to_string(first);
    auto life = registry.create(session);
    for (int job = first; job < first + jobs; ++job) {
        const auto name = pool.call<std::string>("borrow", session);
        const auto square = kvreg::attempt([&] { return registry.call<int>(name, "query", job); });
        if (square)
            ++mine.answered;
        else
            ++mine.broken;
        if (job % 10 == 9) {
            life.exit(kvreg::reason::killed);
            life = registry.create(session);
            ++mine.died;
        } else {
            pool.cast("return", name);
        }
    }
    life.stop();
    return mine;
}

int main() {
    constexpr int threads = 8, jobs = 50;
    auto registry = std::make_shared<kvreg::registry>(kvreg::registry::start());
    auto pool_server = registry->start_server<pool>("pool", registry, 3);
    pool_server.set_timeout(kvreg::infinite);
    counts all[threads];
    std::vector<std::thread> running;
    for (int i = 0; i < threads; ++i)
        running.emplace_back([&, i] { all[i] = work(*registry, pool_server, i * jobs, jobs); });
    counts sum;
    for (int i = 0; i < threads; ++i) {
        running[static_cast<std::size_t>(i)].join();
        sum.answered += all[i].answered;
        sum.broken += all[i].broken;
        sum.died += all[i].died;
    }
    std::cout << sum.answered << " answered, " << sum.broken << " met a connection that broke, "
              << sum.died << " sessions died\n"
              << pool_server.call<int>("broken") << " connections were started again, "
              << pool_server.call<int>("free") << " of 3 are free\n";
    pool_server.stop(); // before its connections
    registry->stop();
}
