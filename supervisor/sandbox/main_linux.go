package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// trialArgument makes penstock-launch succeed without doing anything: it is
// what CheckLock and CheckStrict start in a sandbox.
const trialArgument = "trial"

// trialAnswer is what penstock-launch then prints: what does not is another
// program, which would confine nothing.
const trialAnswer = "penstock-launch was started\n"

// Main is the main function of penstock-launch. It returns only when the
// program could not be started, and then with FailureCode.
func Main() int {
	if len(os.Args) == 2 && os.Args[1] == trialArgument {
		fmt.Print(trialAnswer)
		return 0
	}
	runtime.LockOSThread()
	// The garbage collector would start threads while privileges change.
	debug.SetGCPercent(-1)
	text := strings.ReplaceAll(launch().Error(), "\n", " ")
	fmt.Fprintln(os.Stderr, "penstock-launch: "+text)
	return FailureCode
}

// launch carries out the plan. It returns only with an error.
func launch() error {
	plan, err := readPlan()
	if err != nil {
		return fail("read the plan", err, "penstock starts this program, nobody else")
	}
	if err := join(plan.Cgroups); err != nil {
		return err
	}
	if err := adjustOOM(plan.OOMScoreAdj); err != nil {
		return err
	}
	// Anybody but root has no way to change them.
	if plan.Shield && os.Geteuid() == 0 {
		if err := shield(); err != nil {
			return err
		}
	}
	var access []grant
	if plan.Strict != nil {
		if access, err = enterRoot(plan); err != nil {
			return err
		}
	}
	if plan.Lock || plan.Strict != nil {
		if err := dropPrivileges(plan.Strict); err != nil {
			return err
		}
	}
	if plan.WorkDir != "" {
		if err := os.Chdir(plan.WorkDir); err != nil {
			return fail("enter the working directory", err, "it must exist, and be the program's to enter")
		}
	}
	if plan.Strict != nil {
		if err := restrict(plan.Strict, access); err != nil {
			return err
		}
	}
	return execute(plan)
}

// readPlan reads the plan and closes its file.
func readPlan() (Plan, error) {
	file := os.NewFile(planFD, "plan")
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return Plan{}, err
	}
	var plan Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return Plan{}, err
	}
	return plan, plan.check()
}

// join moves the process into cgroups.
func join(cgroups []string) error {
	for _, procs := range cgroups {
		if err := writeFile(procs, "0"); err != nil {
			return fail("join a cgroup", err, "it must exist, and penstock must be allowed to write it")
		}
	}
	return nil
}

func adjustOOM(score int) error {
	if score == 0 {
		return nil
	}
	if err := writeFile("/proc/self/oom_score_adj", strconv.Itoa(score)); err != nil {
		return fail("set oom_score_adj to "+strconv.Itoa(score), err, "a lower one than penstock's own needs CAP_SYS_RESOURCE")
	}
	return nil
}

// writeFile writes a file of the kernel's, which must exist.
func writeFile(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// failure is a step of the launch that failed.
type failure struct {
	step string
	err  error
	mend string
}

func (f *failure) Error() string { return f.step + ": " + f.err.Error() + ": " + f.mend }
func (f *failure) Unwrap() error { return f.err }

// fail makes the error of a step. mend says what a person can do.
func fail(step string, err error, mend string) error {
	if errors.Is(err, unix.ENOSYS) {
		mend = "this kernel is too old, or what contains it forbids the system call"
	}
	return &failure{step: step, err: err, mend: mend}
}
