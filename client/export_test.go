package client

import "github.com/kvd-db/kvd/client/router"

// OpenLocal is a client whose requests reach the one node of a cluster without a connection.
func OpenLocal(node router.Local, opts ...Option) *Client {
	var s settings
	for _, o := range opts {
		o(&s)
	}
	config := router.Config{Local: node, Log: s.log}
	s.hooks.configure(&config)
	return &Client{keyspace: KeyspaceDefault, shared: &shared{router: router.New(config), hooks: s.hooks}}
}
