//! Packs are read back; damage is named.
