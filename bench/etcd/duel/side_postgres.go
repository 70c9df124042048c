package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kvd-db/kvd/bench"
)

// postgresConnections bounds those of the client: workers, an auditor and what waits for a side to be awake.
const postgresConnections = 80

// postgresSide is one PostgreSQL server and a pool of connections to it.
type postgresSide struct {
	cluster cluster
	address string
	pool    *pgxpool.Pool
}

// startPostgres makes a database in a directory and starts its server.
func startPostgres(ctx context.Context, binary, dir string) (*postgresSide, error) {
	as, err := postgresUser(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "postgres")
	if err := initPostgres(ctx, binary, data, as); err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(ports[0])
	if err != nil {
		return nil, err
	}
	args := []string{"-D", data}
	for _, setting := range []string{
		"listen_addresses=" + host, "port=" + port, "unix_socket_directories=", "fsync=on", "synchronous_commit=on",
		// A table of a hundred rows would be read whole for one of them, and a transaction that does so conflicts with all others.
		"enable_seqscan=off",
	} {
		args = append(args, "-c", setting)
	}
	s := &postgresSide{address: ports[0], cluster: cluster{side: "postgres", processes: []*process{{
		name: "postgres", path: binary, args: args, logPath: filepath.Join(dir, "postgres.log"),
		serves: "database system is ready to accept connections", family: true, as: as,
	}}}}
	if err := s.connect(ctx, host, port); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// postgresUser is who the server runs as if this is root, as whom it refuses to; nil is whoever this is.
func postgresUser(dir string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, fmt.Errorf("PostgreSQL does not run as root, and there is neither a user postgres nor nobody: %w", err)
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	// It must be able to reach its own directory inside.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// initPostgres makes an empty database, with the initdb that belongs to the server.
func initPostgres(ctx context.Context, binary, data string, as *syscall.Credential) error {
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	if as != nil {
		if err := os.Chown(data, int(as.Uid), int(as.Gid)); err != nil {
			return err
		}
	}
	initdb := "initdb"
	if real, err := filepath.EvalSymlinks(binary); err == nil {
		if beside := filepath.Join(filepath.Dir(real), initdb); isFile(beside) {
			initdb = beside
		}
	}
	c := exec.CommandContext(ctx, initdb, "-D", data, "--no-locale", "--encoding=UTF8", "--auth=trust", "--username=kvd", "--no-sync")
	c.SysProcAttr, c.Dir = childAttr(), data
	c.SysProcAttr.Credential = as
	if talk, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", initdb, err, strings.TrimSpace(string(talk)))
	}
	return nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func (s *postgresSide) connect(ctx context.Context, host, port string) error {
	if _, err := s.cluster.start(ctx); err != nil {
		return err
	}
	c, err := pgxpool.ParseConfig(fmt.Sprintf("host=%s port=%s user=kvd database=postgres sslmode=disable", host, port))
	if err != nil {
		return err
	}
	c.MaxConns = postgresConnections
	c.ConnConfig.RuntimeParams["default_transaction_isolation"] = "serializable"
	if s.pool, err = pgxpool.NewWithConfig(ctx, c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, openMax)
	defer cancel()
	return s.pool.Ping(ctx)
}

func (s *postgresSide) processes() *cluster { return &s.cluster }

func (s *postgresSide) target(string) bench.Target { return &postgresTarget{pool: s.pool} }

// pinned is nothing else: there is one server.
func (s *postgresSide) pinned(_ context.Context, space string) (bench.Target, error) {
	return s.target(space), nil
}

func (s *postgresSide) makeSpace(ctx context.Context, _ string, _ int) error {
	_, err := s.pool.Exec(ctx, postgresTable)
	return err
}

func (s *postgresSide) leaders(context.Context, string) string { return "1" }

func (s *postgresSide) stop() {
	s.cluster.resume() // a connection is closed by both ends
	if s.pool != nil {
		s.pool.Close()
	}
	s.cluster.stop()
}
