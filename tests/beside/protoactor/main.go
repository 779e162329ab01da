// The same ping-pong, and the same counters, with Proto.Actor for Go: to be run beside `cargo bench -p millstream-tests
// --bench actors`, on the same machine in the same minute.
//
// `go run . [SECONDS] [BYTES] [IN_FLIGHT]`. The other node is this program again, in a process of its own. Nothing is
// encrypted, and nothing survives: what is measured beside is both.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	counters = 1000
	within   = 10 * time.Second
)

func main() {
	var err error
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		err = serve(os.Args[2])
	} else {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	seconds, bytes, inFlight := argument(1, 5), argument(2, 100), argument(3, 256)
	duration := time.Duration(seconds) * time.Second
	if err := ping(duration, bytes); err != nil {
		return err
	}
	return count(duration, bytes, inFlight)
}

func argument(place, otherwise int) int {
	if len(os.Args) > place {
		if number, err := strconv.Atoi(os.Args[place]); err == nil {
			return number
		}
	}
	return otherwise
}

// freePort finds a port, which somebody else may take before it is used.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func node(port int) (*actor.ActorSystem, *remote.Remote) {
	system := actor.NewActorSystem()
	node := remote.NewRemote(system, remote.Configure("127.0.0.1", port))
	node.Start()
	return system, node
}

func serve(text string) error {
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	system, node := node(port)
	defer node.Shutdown(true)
	pong := actor.PropsFromFunc(func(context actor.Context) {
		if message, is := context.Message().(*wrapperspb.BytesValue); is {
			context.Respond(message)
		}
	})
	if _, err := system.Root.SpawnNamed(pong, "ponger"); err != nil {
		return err
	}
	fmt.Println("ready")
	// It ends with its standard input: with the program that began it.
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func ping(duration time.Duration, bytes int) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	other := exec.Command(program, "serve", strconv.Itoa(port))
	stdin, err := other.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := other.StdoutPipe()
	if err != nil {
		return err
	}
	if err := other.Start(); err != nil {
		return err
	}
	defer func() {
		stdin.Close()
		other.Process.Kill()
		other.Wait()
	}()
	said := bufio.NewScanner(stdout)
	for said.Scan() && said.Text() != "ready" {
	}
	own, err := freePort()
	if err != nil {
		return err
	}
	system, here := node(own)
	defer here.Shutdown(false)
	ponger := actor.NewPID(fmt.Sprintf("127.0.0.1:%d", port), "ponger")
	message := wrapperspb.Bytes(make([]byte, bytes))
	var trips []time.Duration
	for began := time.Now(); time.Since(began) < duration; {
		sent := time.Now()
		if _, err := system.Root.RequestFuture(ponger, message, within).Result(); err != nil {
			return err
		}
		trips = append(trips, time.Since(sent))
	}
	if len(trips) == 0 {
		return errors.New("no round trip")
	}
	slices.Sort(trips)
	p50, p99 := trips[len(trips)/2], trips[len(trips)*99/100]
	fmt.Printf("| Proto.Actor for Go: ask of an actor on another node | %v | %v |\n",
		p50.Round(time.Microsecond), p99.Round(time.Microsecond))
	return nil
}

func count(duration time.Duration, bytes, inFlight int) error {
	system := actor.NewActorSystem()
	counter := func() actor.Actor {
		counted := uint64(0)
		return actor.ReceiveFunc(func(context actor.Context) {
			if _, is := context.Message().([]byte); is {
				counted++
				context.Respond(counted)
			}
		})
	}
	props := actor.PropsFromProducer(counter)
	pids := make([]*actor.PID, counters)
	for place := range pids {
		pids[place] = system.Root.Spawn(props)
	}
	var done atomic.Uint64
	var failed atomic.Value
	var askers sync.WaitGroup
	began := time.Now()
	for first := range inFlight {
		askers.Go(func() {
			for place := first; time.Since(began) < duration; place += inFlight {
				future := system.Root.RequestFuture(pids[place%counters], make([]byte, bytes), within)
				if _, err := future.Result(); err != nil {
					failed.Store(err)
					return
				}
				done.Add(1)
			}
		})
	}
	askers.Wait()
	if err, is := failed.Load().(error); is {
		return err
	}
	fmt.Printf("| Proto.Actor for Go: counters in memory, asked | %.0f a second |\n",
		float64(done.Load())/time.Since(began).Seconds())
	return nil
}
