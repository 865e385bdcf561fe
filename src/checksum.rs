//! Checksums of the formats: pure functions over slices.
