package rendezvous

// ServiceTag is the DNS-SD service under which a rendezvous announces itself on the LAN by mDNS and under which peers
// look for one. The record carries addresses with the PeerID and nothing else: no user name is ever announced. Whoever is on the LAN
// can announce anything, so what is found is a candidate that has to prove its PeerID and speak [ProtocolID].
const ServiceTag = "_byway._udp"
