//! What travels: every variant there and back, old bytes still read, bad bytes refused.
