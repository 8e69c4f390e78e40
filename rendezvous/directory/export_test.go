package directory

// ParseWithheld lets the fuzzer at what Publish reads.
var ParseWithheld = parseWithheld
