// A bounded cache of immutable values: codebooks, rotations, tables. Least recently used entries leave first.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace quantscope {

/// Thread-safe. `maxCost` bounds the sum of the entries' costs, whatever unit the owner picks; one entry may exceed it alone.
template <class Key, class Value>
class LruCache {
public:
    explicit LruCache(size_t maxCost) : maxCost_(maxCost) {}

    /// The cached value, or the one `make()` returns. `make` runs without the lock, so that a slow draw blocks nobody else.
    template <class Make>
    std::shared_ptr<const Value> get(const Key& key, size_t cost, Make&& make) {
        if (auto found = find(key)) {
            return found;
        }
        auto made = std::make_shared<const Value>(make());
        insert(key, cost, made);
        return made;
    }

private:
    struct Entry {
        Key key;
        size_t cost;
        std::shared_ptr<const Value> value;
    };

    std::shared_ptr<const Value> find(const Key& key) {
        const std::lock_guard lock(mutex_);
        const auto it = index_.find(key);
        if (it == index_.end()) {
            return nullptr;
        }
        entries_.splice(entries_.begin(), entries_, it->second);
        return it->second->value;
    }

    void insert(const Key& key, size_t cost, std::shared_ptr<const Value> value) {
        const std::lock_guard lock(mutex_);
        if (index_.contains(key)) {
            return;  // another thread was faster
        }
        entries_.push_front({key, cost, std::move(value)});
        index_[key] = entries_.begin();
        cost_ += cost;
        while (cost_ > maxCost_ && entries_.size() > 1) {
            cost_ -= entries_.back().cost;
            index_.erase(entries_.back().key);
            entries_.pop_back();
        }
    }

    const size_t maxCost_;
    size_t cost_ = 0;
    std::mutex mutex_;
    std::list<Entry> entries_;
    std::map<Key, typename std::list<Entry>::iterator> index_;
};

}  // namespace quantscope
