//! One room per format.

pub mod native;
