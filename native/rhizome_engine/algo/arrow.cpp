// SPDX-License-Identifier: Apache-2.0
#include "algo/arrow.hpp"

namespace rhizome {
namespace {

// A child may be moved away from its parent and outlive it, so each struct owns what it points to by itself. A struct is released when
// its release is null; moving one sets the source's to null.

struct schema_owner {
  std::string name;
  std::vector<std::unique_ptr<ArrowSchema>> children;
  std::vector<ArrowSchema*> pointers;
};

struct array_owner {
  std::shared_ptr<const void> data;
  const void* buffers[2] = {nullptr, nullptr};  // validity (none: no value is missing), values
  std::vector<std::unique_ptr<ArrowArray>> children;
  std::vector<ArrowArray*> pointers;
};

template <class Owner, class Struct>
void release(Struct* self) {
  auto* const owner = static_cast<Owner*>(self->private_data);
  for (auto* const child : owner->pointers) {
    if (child->release != nullptr) {
      child->release(child);
    }
  }
  delete owner;
  self->release = nullptr;
}

ArrowSchema make_schema(const char* format, std::unique_ptr<schema_owner> owner) {
  for (auto const& child : owner->children) {
    owner->pointers.push_back(child.get());
  }
  ArrowSchema made{};
  made.format = format;
  made.name = owner->name.c_str();
  made.n_children = static_cast<std::int64_t>(owner->pointers.size());
  made.children = owner->pointers.empty() ? nullptr : owner->pointers.data();
  made.release = release<schema_owner, ArrowSchema>;
  made.private_data = owner.release();
  return made;
}

ArrowArray make_array(std::size_t length, std::int64_t buffers, std::unique_ptr<array_owner> owner) {
  for (auto const& child : owner->children) {
    owner->pointers.push_back(child.get());
  }
  ArrowArray made{};
  made.length = static_cast<std::int64_t>(length);
  made.n_buffers = buffers;
  made.buffers = owner->buffers;
  made.n_children = static_cast<std::int64_t>(owner->pointers.size());
  made.children = owner->pointers.empty() ? nullptr : owner->pointers.data();
  made.release = release<array_owner, ArrowArray>;
  made.private_data = owner.release();
  return made;
}

/// A struct that is released unless it was taken.
template <class Struct>
struct guarded {
  Struct held{};
  ~guarded() {
    if (held.release != nullptr) {
      held.release(&held);
    }
  }
  void give(Struct& to) {
    to = held;
    held.release = nullptr;
  }
};

}  // namespace

result<void> arrow_table::export_to(ArrowSchema& schema, ArrowArray& array) const {
  auto const length = columns_.empty() ? 0 : columns_.front().length;
  std::vector<guarded<ArrowSchema>> schemas(columns_.size());
  std::vector<guarded<ArrowArray>> arrays(columns_.size());
  auto batch_schema = std::make_unique<schema_owner>();
  auto batch = std::make_unique<array_owner>();
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    auto const& one = columns_[i];
    if (one.length != length) {
      return fail(errc::invalid_argument, "The columns of a table differ in length: \"" + one.name + "\" has " +
                                              std::to_string(one.length) + " values, the first one " +
                                              std::to_string(length) + ".");
    }
    auto name = std::make_unique<schema_owner>();
    name->name = one.name;
    schemas[i].held = make_schema(one.format, std::move(name));
    auto values = std::make_unique<array_owner>();
    values->data = one.owner;
    values->buffers[1] = one.data;
    arrays[i].held = make_array(one.length, 2, std::move(values));
    batch_schema->children.push_back(std::make_unique<ArrowSchema>());
    batch->children.push_back(std::make_unique<ArrowArray>());
  }
  batch_schema->pointers.reserve(columns_.size());
  batch->pointers.reserve(columns_.size());
  for (std::size_t i = 0; i < columns_.size(); ++i) {  // nothing throws from here on
    schemas[i].give(*batch_schema->children[i]);
    arrays[i].give(*batch->children[i]);
  }
  schema = make_schema("+s", std::move(batch_schema));
  array = make_array(length, 1, std::move(batch));
  return {};
}

}  // namespace rhizome
