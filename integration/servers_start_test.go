package integration

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// address is one of this machine's on which nobody listens.
func serverAddress(t testing.TB) (address, port string) {
	t.Helper()
	port = fmt.Sprint(lastingPort(t))
	return net.JoinHostPort("127.0.0.1", port), port
}

// startRedis returns the URL of a new redis-server.
func startRedis(t testing.TB) string {
	t.Helper()
	path := serverPath(t, "redis-server")
	dir, _ := serverDir(t, "")
	address, port := serverAddress(t)
	program{Path: path, Dir: dir, Args: []string{
		"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "no",
	}}.start(t, false).awaitListening(t, address)
	return "redis://" + address
}

// startNATS returns the URL of a new nats-server, which has JetStream.
func startNATS(t testing.TB) string {
	t.Helper()
	path := serverPath(t, "nats-server", "/usr/sbin")
	dir, _ := serverDir(t, "")
	address, port := serverAddress(t)
	program{Path: path, Dir: dir, Args: []string{
		"--addr", "127.0.0.1", "--port", port, "--jetstream", "--store_dir", dir,
	}}.start(t, false).awaitListening(t, address)
	return "nats://" + address
}

// startMosquitto returns the URL of a new mosquitto, which keeps all messages of
// a session until its client comes back.
func startMosquitto(t testing.TB) string {
	t.Helper()
	path := serverPath(t, "mosquitto", "/usr/sbin")
	dir, _ := serverDir(t, "")
	address, port := serverAddress(t)
	config := filepath.Join(dir, "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\npersistence false\nlog_dest stdout\n"
	if os.Getuid() == 0 {
		text += "user root\n"
	}
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	program{Path: path, Dir: dir, Args: []string{"-c", config}}.start(t, false).awaitListening(t, address)
	return "tcp://" + address
}

// startRabbitMQ returns the URL of a new rabbitmq. Its nodes find each other by
// a daemon of Erlang's, which is one of the test's, too.
func startRabbitMQ(t testing.TB) string {
	t.Helper()
	path := serverPath(t, "rabbitmq-server", "/usr/lib/rabbitmq/bin")
	dir, _ := serverDir(t, "")
	address, port := serverAddress(t)
	names, namesPort := serverAddress(t)
	_, distributionPort := serverAddress(t)
	env := []string{
		"ERL_EPMD_PORT=" + namesPort, "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME=penstock" + port + "@localhost",
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT=" + port, "RABBITMQ_DIST_PORT=" + distributionPort,
		"RABBITMQ_BASE=" + dir, "RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "mnesia"), "RABBITMQ_LOG_BASE=" + filepath.Join(dir, "log"),
		"RABBITMQ_CONF_ENV_FILE=" + filepath.Join(dir, "none"), "RABBITMQ_CONFIG_FILE=" + filepath.Join(dir, "rabbitmq.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(dir, "plugins"), "RABBITMQ_LOGS=-",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "plugins"), []byte("[]."), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rabbitmq.conf"), nil, 0o600))
	daemon, _ := serverDir(t, "")
	program{Path: serverPath(t, "epmd"), Dir: daemon, Env: env[:2]}.start(t, false).awaitListening(t, names)
	program{Path: path, Dir: dir, Env: env}.start(t, false).awaitListening(t, address)
	return "amqp://guest:guest@" + address + "/"
}

// startPostgres returns the data source name of a new database.
func startPostgres(t testing.TB) string {
	t.Helper()
	folder := "/usr/lib/postgresql/*/bin"
	path, initdb := serverPath(t, "postgres", folder), serverPath(t, "initdb", folder)
	dir, who := serverDir(t, "postgres")
	data := filepath.Join(dir, "data")
	ctx, cancel := context.WithTimeout(t.Context(), serverTimeout)
	defer cancel()
	create := exec.CommandContext(ctx, initdb, "--pgdata", data, "--username", "penstock", "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C")
	create.Dir = dir
	create.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	out, err := create.CombinedOutput()
	require.NoError(t, err, "%s", out)
	address, port := serverAddress(t)
	// Its own processes have groups of their own; it ends them at SIGINT.
	r := program{Path: path, Dir: dir, User: who, End: syscall.SIGINT, Args: []string{
		"-D", data, "-c", "listen_addresses=127.0.0.1", "-c", "port=" + port, "-c", "unix_socket_directories=", "-c", "fsync=off",
	}}.start(t, false)
	r.awaitListening(t, address)
	ready := serverPath(t, "pg_isready", folder)
	await(t, serverTimeout, "postgres to be ready", func() error {
		if err := r.alive(); err != nil {
			return err
		}
		return exec.CommandContext(ctx, ready, "--quiet", "--host", "127.0.0.1", "--port", port).Run()
	})
	return "postgres://penstock@" + address + "/postgres?sslmode=disable"
}

// startKafka returns the address of a new broker.
func startKafka(t testing.TB) string {
	t.Helper()
	bin, err := brokerBinaries()
	require.NoError(t, err)
	dir, _ := serverDir(t, "")
	return program{Path: bin.Kafka, Dir: dir}.start(t, true).firstLine(t)
}

// bucket is the one that startS3 has.
const bucket = "things"

// startS3 returns the URL of a new server of objects.
func startS3(t testing.TB) string {
	t.Helper()
	bin, err := brokerBinaries()
	require.NoError(t, err)
	dir, _ := serverDir(t, "")
	return program{Path: bin.S3, Dir: dir, Args: []string{bucket}}.start(t, true).firstLine(t)
}
