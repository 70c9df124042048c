// Command etcdnode is one member of an etcd cluster, as package embed makes it, with etcd's own
// defaults: what kvd is measured beside. It says "ready client=HOST:PORT version=V" on stderr
// once it serves, and ends at SIGTERM or SIGINT.
//
//	duel ─► etcdnode ─► embed.StartEtcd
//
// It changes nothing that decides about speed or safety; fsync stays on.
package main
