//! The item stream: all entries of a volume's tree, in order, cut into leaves that a tree of branches lists.

pub mod entry;
