package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// times are durations seen, in any order.
type times struct {
	mutex sync.Mutex
	all   []time.Duration
}

func (t *times) add(one time.Duration) {
	t.mutex.Lock()
	t.all = append(t.all, one)
	t.mutex.Unlock()
}

func milliseconds(length time.Duration) float64 { return float64(length.Microseconds()) / 1000 }

func (t *times) told(shown figures, name string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if len(t.all) == 0 {
		return
	}
	slices.Sort(t.all)
	at := func(share float64) float64 { return milliseconds(t.all[int(float64(len(t.all)-1)*share)]) }
	shown[name+"_p50_ms"], shown[name+"_p99_ms"], shown[name+"_max_ms"] = at(0.5), at(0.99), at(1)
}

// account is the servers' time on the processor when a load began.
type account struct {
	processes []string
	before    float64
}

func started() account {
	var processes []string
	for _, process := range strings.Split(*pids, ",") {
		if process != "" {
			processes = append(processes, process)
		}
	}
	return account{processes, busySeconds(processes)}
}

// told adds throughput, and of the servers what they needed.
func (a account) told(shown figures, took time.Duration, values int64) {
	shown["seconds"] = took.Seconds()
	shown["mb_per_s"] = float64(values) / 1e6 / took.Seconds()
	a.servers(shown)
	if cpu, found := shown["server_cpu_s"].(float64); found && values > 0 {
		shown["server_cpu_s_per_gb"] = cpu / (float64(values) / 1e9)
	}
}

func (a account) servers(shown figures) {
	if len(a.processes) == 0 {
		return
	}
	shown["server_cpu_s"] = busySeconds(a.processes) - a.before
	shown["server_mb"] = float64(resident(a.processes)) / 1e6
}

// busySeconds is what the processes have spent in user and kernel mode, from proc(5); the kernel counts 100 a second.
func busySeconds(processes []string) (sum float64) {
	for _, process := range processes {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%s/stat", process))
		if err != nil {
			continue
		}
		// The name before it may have spaces and brackets.
		_, after, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
		fields := strings.Fields(after)
		for _, at := range []int{11, 12} {
			ticks, _ := strconv.ParseFloat(fields[at], 64)
			sum += ticks / 100
		}
	}
	return sum
}

// resident is the processes' memory in bytes.
func resident(processes []string) (sum int64) {
	for _, process := range processes {
		statm, err := os.ReadFile(fmt.Sprintf("/proc/%s/statm", process))
		if err != nil {
			continue
		}
		pages, _ := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
		sum += pages * int64(os.Getpagesize())
	}
	return sum
}
