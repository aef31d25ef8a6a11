//! What is run: each function is one execution, which loom repeats in every interleaving.

use crate::abi::*;
use crate::facade::AtomicU64;
use crate::sys::tls;
use crate::world;
use crate::{chain, free_list, grace, guard, ownership, registry, sys_barrier};
use core::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// What hooks are given as `user`: places that loom watches.
static USERS: [u64; 4] = [0; 4];

fn user(n: usize) -> usize {
    &raw const USERS[n] as usize
}

/// A callback runs: it looks at what `user` points to. Not behind its release either, whatever orders the two.
fn use_hook(user: *mut c_void) {
    world::cell(user as usize).with(|_| ());
    world::with(|w| assert!(!w.released.contains(&(user as usize)), "a hook is called after its release"));
}

/// The program, or a release, frees what `user` points to.
fn free_user(user: usize) {
    world::cell(user).with_mut(|_| ());
}

unsafe extern "C" fn told(_: *const memhook_call, _: *mut c_void, _: *mut c_void) {}

unsafe extern "C" fn asked(
    _: *mut memhook_next,
    _: usize,
    _: *const memhook_call,
    _: *mut c_void,
) -> *mut c_void {
    core::ptr::null_mut()
}

unsafe extern "C" fn release(user: *mut c_void) {
    // Nothing may unwind out of here: the next atomic access of any thread panics instead.
    let checked = catch_unwind(AssertUnwindSafe(|| {
        free_user(user as usize);
        world::with(|w| assert!(!w.released.contains(&(user as usize)), "released twice"));
    }));
    world::with(|w| {
        w.released.push(user as usize);
        if checked.is_err() {
            w.failure = Some("release: the hook is in use, or was released before".into());
        }
    });
}

fn observer(n: usize) -> chain::Table {
    chain::Table::Observer(memhook_observer {
        struct_size: size_of::<memhook_observer>(),
        name: core::ptr::null(),
        priority: 0,
        flags: 0,
        object: core::ptr::null(),
        user: user(n) as *mut c_void,
        after_alloc: Some(told),
        before_free: None,
        realloc_begin: None,
        realloc_commit: None,
        realloc_abort: None,
        release: Some(release),
    })
}

fn interceptor(n: usize) -> chain::Table {
    chain::Table::Interceptor(memhook_interceptor {
        struct_size: size_of::<memhook_interceptor>(),
        name: core::ptr::null(),
        priority: 0,
        flags: 0,
        object: core::ptr::null(),
        user: user(n) as *mut c_void,
        malloc: Some(asked),
        realloc: None,
        memalign: None,
        free: None,
        usable_size: None,
        release: Some(release),
    })
}

unsafe extern "C" fn taken(_: *mut memhook_next, _: *mut c_void, _: *const memhook_call, _: *mut c_void) {}

/// One that makes no blocks.
fn interceptor_of_frees(n: usize) -> chain::Table {
    match interceptor_alone(n) {
        chain::Table::Interceptor(table) => {
            chain::Table::Interceptor(memhook_interceptor { malloc: None, ..table })
        }
        table => table,
    }
}

/// One for which calls take the way of an interceptor that has no other beside it.
fn interceptor_alone(n: usize) -> chain::Table {
    match interceptor(n) {
        chain::Table::Interceptor(table) => {
            chain::Table::Interceptor(memhook_interceptor { free: Some(taken), ..table })
        }
        table => table,
    }
}

/// An execution's beginning: the library after its first call; every kind of head made.
fn setup() {
    world::begin();
    for n in 0..4 {
        world::cell(user(n));
    }
    sys_barrier::choose();
    registry::prepare();
    registry::begin().unwrap();
}

/// The record of a thread to come, so that its model begins with its first call, not with that.
fn prepare() -> usize {
    prepare_with_number().0
}

/// The same, and the thread's number.
fn prepare_with_number() -> (usize, u32) {
    let number = world::with(|w| {
        w.prepared += 1;
        w.disguise = Some(100 + w.prepared);
        100 + w.prepared
    });
    let record = as_thread(core::ptr::null_mut(), || core::ptr::from_ref(guard::record().unwrap()) as usize);
    world::with(|w| w.disguise = None);
    (record, number)
}

/// Does what a thread with this record has done before the model begins.
fn as_thread<R>(record: *mut u8, f: impl FnOnce() -> R) -> R {
    let mine = tls::get();
    tls::set(record);
    let result = f();
    tls::set(mine);
    result
}

/// A thread, which has executed a fence for each interrupt before its beginning, and after its end.
fn start(f: impl FnOnce() + 'static) -> loom::thread::JoinHandle<()> {
    world::take_interrupts();
    loom::thread::spawn(move || {
        world::take_interrupts();
        f();
        world::take_interrupts();
    })
}

fn spawn(f: impl FnOnce() + 'static) -> loom::thread::JoinHandle<()> {
    let record = prepare();
    start(move || {
        tls::set(record as *mut u8);
        f();
    })
}

/// Runs `f` in an allocation call's section, on its chain.
fn inside<R>(f: impl FnOnce(&chain::View) -> R) -> R {
    let record = guard::record().unwrap();
    let section = grace::enter(record, tls::stack_pointer()).expect("a section is open");
    let chain = chain::current(&section);
    world::reads(chain);
    let result = f(chain.view(record));
    world::reads(chain);
    result
}

/// What `dispatch::tell` does.
fn tell(view: &chain::View) {
    let record = guard::record().unwrap();
    for told in view.after_alloc.get() {
        grace::announce_observer(record, told.hook as usize);
        // SAFETY: in the chain that the section found.
        if !unsafe { &*told.hook }.is_passed_by() {
            use_hook(told.user);
        }
    }
}

/// An allocation call on the full way: every observer is told.
fn call_fully() {
    inside(tell);
}

/// An allocation call: what `dispatch::observe` does.
fn call() {
    let record = guard::record().unwrap();
    let Some((_section, head)) = chain::enter_briefly(record, tls::stack_pointer()) else {
        return call_fully();
    };
    // SAFETY: in this section.
    world::reads(unsafe { head.chain() });
    // SAFETY: in this section.
    let view = unsafe { head.view() };
    match view.after_alloc.only() {
        Some(told) => use_hook(told.user),
        None => tell(view),
    }
    // SAFETY: in this section.
    world::reads(unsafe { head.chain() });
}

/// As `call`, while another observer may come and go: what each of two is passed by for.
fn reader_of_two_against_unregister() {
    setup();
    let a = registry::register(observer(0), 0).unwrap();
    registry::register(observer(1), 0).unwrap();
    let reader = spawn(|| {
        call();
        call();
    });
    assert_eq!(registry::unregister(a, None), 0);
    assert_eq!(released(0), 1);
    reader.join().unwrap();
}

fn in_force(n: usize) -> bool {
    let mut found = false;
    registry::list(0, &mut |info| found |= info.user as usize == user(n)).unwrap();
    found
}

/// Nothing is left behind: of the library's temporary memory, the chain in force and `others`.
fn quiet(others: usize) {
    assert_eq!(world::with(|w| w.alive()), 1 + others, "deferred work is stranded");
}

fn released(n: usize) -> usize {
    world::with(|w| w.released.iter().filter(|&&u| u == user(n)).count())
}

/// 1, 2: two calls against an unregistration that waits.
fn reader_against_unregister() {
    setup();
    let a = registry::register(observer(0), 0).unwrap();
    let reader = spawn(|| {
        call();
        call_fully();
    });
    assert_eq!(registry::unregister(a, None), 0);
    assert_eq!(released(0), 1);
    reader.join().unwrap();
}

/// 3: an unregistration from inside a callback; nobody waits, whoever leaves last does it.
fn unregister_inside() {
    setup();
    let a = registry::register(observer(0), 0).unwrap();
    let reader = spawn(call);
    inside(|_| assert!([0, libc::EINPROGRESS].contains(&registry::unregister(a, None))));
    reader.join().unwrap();
    assert_eq!(released(0), 1, "deferred work is stranded");
}

/// 3: and no memory is left in the queue either.
fn memory_is_not_stranded() {
    setup();
    let a = registry::register(observer(0), 0).unwrap();
    let reader = spawn(call);
    inside(|_| assert!([0, libc::EINPROGRESS].contains(&registry::unregister(a, None))));
    reader.join().unwrap();
    assert_eq!(released(0), 1, "deferred work is stranded");
    quiet(0);
}

/// 3: the same for an interceptor, whose end takes two grace periods. One thread.
fn unregister_interceptor_inside() {
    setup();
    let a = registry::register(interceptor(0), 0).unwrap();
    inside(|_| assert!([0, libc::EINPROGRESS].contains(&registry::unregister(a, None))));
    assert_eq!(released(0), 1, "deferred work is stranded");
}

/// A block is made; gives the number of the owner list.
fn make_block() -> u16 {
    inside(|view| {
        let id = view.owners[chain::BY_MALLOC];
        assert_ne!(id, 0);
        grace::announce_interceptor(guard::record().unwrap(), u64::MAX);
        ownership::made(id, guard::record().unwrap());
        id
    })
}

/// A block of the list ends, in its interceptors' callbacks.
fn end_block(id: u16) {
    inside(|_| {
        grace::announce_interceptor(guard::record().unwrap(), u64::MAX);
        // SAFETY: a block of the list is held.
        let members = unsafe { ownership::members(id) };
        // SAFETY: members live as long as the list.
        members.iter().for_each(|&member| use_hook(unsafe { &*member }.user()));
        ownership::gone(id, guard::record().unwrap());
    });
}

/// A block is made while one interceptor is all there is: what `dispatch::single` does. Gives the list, or 0
/// where another way is to be taken.
fn make_block_alone() -> u16 {
    let record = guard::record().unwrap();
    let Some((section, head)) = chain::enter_briefly(record, tls::stack_pointer()) else { return 0 };
    // SAFETY: in this section.
    world::reads(unsafe { head.chain() });
    let Some(single) = (unsafe { &head.view().single }) else { return 0 };
    use_hook(single.user);
    ownership::made(single.owner, record);
    // SAFETY: in this section.
    world::reads(unsafe { head.chain() });
    let owner = single.owner;
    drop(section);
    owner
}

/// Such a block ends: in the same way if the chain is still that, else on the full way.
fn end_block_alone(id: u16) {
    let record = guard::record().unwrap();
    let Some((section, head)) = chain::enter_briefly(record, tls::stack_pointer()) else {
        return end_block(id);
    };
    // SAFETY: in this section.
    world::reads(unsafe { head.chain() });
    let Some(single) = (unsafe { head.view().single.as_ref() }).filter(|single| single.owner == id) else {
        drop(section);
        return end_block(id);
    };
    assert!(record.count(single.owner, -1));
    use_hook(single.user);
    // SAFETY: in this section.
    world::reads(unsafe { head.chain() });
}

/// A block is made and ends in one thread while the only interceptor is unregistered in another.
fn alone_against_unregister() {
    setup();
    let a = registry::register(interceptor_alone(0), 0).unwrap();
    let other = spawn(|| {
        let id = make_block_alone();
        if id != 0 {
            end_block_alone(id);
        }
    });
    let result = registry::unregister(a, None);
    assert!(result == 0 || result == libc::EINPROGRESS, "{result}");
    other.join().unwrap();
    assert_eq!(released(0), 1);
}

/// The last block ends while the only interceptor's list is drained.
fn last_block_alone() {
    setup();
    let a = registry::register(interceptor_alone(0), 0).unwrap();
    let id = make_block_alone();
    assert_ne!(id, 0);
    let other = spawn(move || end_block_alone(id));
    let result = registry::unregister(a, None);
    assert!(result == 0 || result == libc::EINPROGRESS, "{result}");
    other.join().unwrap();
    assert_eq!(released(0), 1);
}

/// 4: two blocks end in two threads while their interceptor is unregistered in a third.
fn blocks_end() {
    setup();
    let a = registry::register(interceptor(0), 0).unwrap();
    let id = make_block();
    make_block();
    let first = spawn(move || end_block(id));
    let second = spawn(move || end_block(id));
    let result = registry::unregister(a, None);
    assert!(result == 0 || result == libc::EINPROGRESS, "{result}");
    if result == 0 {
        assert_eq!(released(0), 1);
    }
    first.join().unwrap();
    second.join().unwrap();
    assert_eq!(released(0), 1);
}

/// 5: a chain object that names the hook is put in force while the hook is unregistered.
fn swap_against_unregister() {
    setup();
    let a = registry::register(observer(0), 0).unwrap();
    let object = registry::copy_chain().unwrap();
    let other = spawn(move || {
        let _ = registry::swap(object, false);
    });
    let result = registry::unregister(a, None);
    assert_eq!(result, 0);
    assert_eq!(released(0), 1);
    other.join().unwrap();
    assert!(!in_force(0), "unregistered, and in force");
    call();
    assert_eq!(released(0), 1);
}

/// Two registrations: both are in force after it.
fn register_against_register() {
    setup();
    let other = spawn(|| {
        registry::register(observer(1), 0).unwrap();
    });
    registry::register(observer(0), 0).unwrap();
    other.join().unwrap();
    assert!(in_force(0) && in_force(1));
}

/// A hook's memory is used again while its end is still fresh: nobody has it pinned.
fn reuse_against_release() {
    setup();
    let hook = chain::Hook::create(observer(0), 0, None).unwrap();
    hook.unpin();
    let other = spawn(move || {
        hook.end_service();
    });
    let next = chain::Hook::create(observer(1), 0, None).unwrap();
    other.join().unwrap();
    assert_eq!(next.phase.load(Ordering::Relaxed), 0);
}

/// A chain object that names the hook ends while the chain in force with it is replaced from
/// inside a callback.
fn destroy_against_swap_inside() {
    setup();
    registry::register(observer(0), 0).unwrap();
    let first = registry::copy_chain().unwrap();
    let second = registry::create_chain().unwrap();
    let other = spawn(move || {
        inside(|view| {
            let _ = registry::swap(second, false);
            tell(view);
        });
    });
    let _ = registry::destroy(first);
    other.join().unwrap();
    assert_eq!(released(0), 1, "deferred work is stranded");
}

/// Two interceptors of one owner list go at once. There are no blocks; but one may be told
/// `EINPROGRESS` while the other's thread has the list's end in hand.
fn two_members_go() {
    setup();
    let a = registry::register(interceptor(0), 0).unwrap();
    let b = registry::register(interceptor(1), 0).unwrap();
    let other = spawn(move || assert_eq!(registry::unregister(b, None), 0));
    assert_eq!(registry::unregister(a, None), 0);
    other.join().unwrap();
    assert!(released(0) == 1 && released(1) == 1, "deferred work is stranded");
}

/// A hook is unregistered while the object that it is tied to (here none, as all hooks are) goes: who comes
/// second waits, and leaves the work to the first.
fn object_goes_while_unregistering() {
    setup();
    let id = registry::register(observer(0), 0).unwrap();
    let other = spawn(move || {
        let result = registry::unregister(id, None);
        assert!([0, libc::EALREADY, libc::ESRCH].contains(&result), "{result}");
    });
    registry::unregister_object(core::ptr::null(), true);
    assert_eq!(released(0), 1, "the object is unmapped under its hook");
    free_user(user(0));
    other.join().unwrap();
}

/// A callback is left by longjmp while its thread has suspended hooks; then a writer is called.
fn abandoned_while_suspended() {
    setup();
    let record = guard::record().unwrap();
    std::mem::forget(grace::enter(record, 1 << 19).unwrap());
    record.suspend();
    // The stack pointer is above that now: the frame of the call is gone.
    let section = grace::enter_anyhow(record, tls::stack_pointer());
    assert!(record.is_inside(), "a section that is none");
    drop(section);
}

/// 6: the free list of scratch memory: two threads take and put, one of them out of order.
fn free_list() {
    world::begin();
    let take = || {
        let block = free_list::malloc(8);
        world::cell(block as usize).with_mut(|_| ());
        world::with(|w| {
            assert!(!w.released.contains(&(block as usize)), "handed out twice");
            w.released.push(block as usize);
        });
        block
    };
    let put = |block: *mut u8| {
        world::cell(block as usize).with_mut(|_| ());
        world::with(|w| w.released.retain(|&b| b != block as usize));
        // SAFETY: taken, and not used any more.
        unsafe { free_list::free(block) };
    };
    let blocks = [take(), take(), take()];
    let pages = world::with(|w| w.alive_pages());
    blocks.into_iter().for_each(put);
    let other = loom::thread::spawn(move || {
        let a = take();
        let b = take();
        put(a);
        put(b);
    });
    let a = take();
    put(a);
    other.join().unwrap();
    // 64 blocks were carved: they are all there, and each once.
    for _ in 0..64 {
        take();
    }
    assert_eq!(world::with(|w| w.alive_pages()), pages, "a block is lost");
}

/// 4: the same with two threads: one block ends in each.
fn block_ends_late() {
    setup();
    let a = registry::register(interceptor(0), 0).unwrap();
    let id = make_block();
    make_block();
    let other = spawn(move || end_block(id));
    let result = registry::unregister(a, None);
    assert_eq!(result, libc::EINPROGRESS);
    assert_eq!(released(0), 0, "released while it owns a block");
    end_block(id);
    other.join().unwrap();
    assert_eq!(released(0), 1);
}

/// A removal that was waited for in vain: it is carried out all the same.
fn removal_times_out() {
    setup();
    let a = registry::register(observer(0), 0).unwrap();
    let reader = spawn(call);
    let result = registry::unregister(a, Some(0));
    assert!([0, libc::ETIMEDOUT].contains(&result), "{result}");
    if result == 0 {
        assert_eq!(released(0), 1);
    }
    reader.join().unwrap();
    assert_eq!(released(0), 1, "deferred work is stranded");
}

/// Two removals at the same time, each awaited by its own thread, while one thread calls both hooks.
fn two_removals() {
    setup();
    let a = registry::register(observer(0), 0).unwrap();
    let b = registry::register(observer(1), 0).unwrap();
    let other = spawn(move || assert_eq!(registry::unregister(b, None), 0));
    assert_eq!(registry::unregister(a, None), 0);
    assert_eq!(released(0), 1);
    other.join().unwrap();
    assert_eq!(released(1), 1);
    quiet(0);
}

/// A hook is replaced while it is called: its id goes over to the new one.
fn reader_against_replace() {
    setup();
    let a = registry::register(observer(0), 0).unwrap();
    let reader = spawn(call);
    assert_eq!(registry::replace(a, observer(1), 0), 0);
    assert!(released(0) == 1 && released(1) == 0);
    reader.join().unwrap();
    assert_eq!(registry::unregister(a, None), 0);
    assert_eq!(released(1), 1);
}

/// A hook is replaced while another thread unregisters it: whoever comes second is told so.
fn replace_against_unregister() {
    setup();
    let a = registry::register(observer(0), 0).unwrap();
    let other = spawn(move || {
        let result = registry::unregister(a, None);
        assert!([0, libc::EBUSY, libc::EALREADY].contains(&result), "{result}");
    });
    let result = registry::replace(a, observer(1), 0);
    assert!([0, libc::EALREADY, libc::ESRCH].contains(&result), "{result}");
    other.join().unwrap();
    assert_eq!(released(0), 1);
}

/// A thread comes whose record nobody has seen.
fn thread_arrives() {
    setup();
    let a = registry::register(observer(0), 0).unwrap();
    let reader = start(call);
    assert_eq!(registry::unregister(a, None), 0);
    assert_eq!(released(0), 1);
    reader.join().unwrap();
}

/// Two threads mark the first blocks: one table, and both marks in it.
fn first_marks() {
    setup();
    let (a, b) = (0x10_0000 as *mut c_void, 0x10_0010 as *mut c_void);
    let other = spawn(move || {
        assert!(ownership::mark(b, 2));
        assert_eq!(ownership::owner(b), 2);
    });
    assert_eq!(ownership::owner(b) | 2, 2);
    assert!(ownership::mark(a, 1));
    other.join().unwrap();
    assert!(ownership::owner(a) == 1 && ownership::owner(b) == 2);
}

/// A chain object in the hands of two threads: one of them is told that it is busy.
fn object_against_object() {
    setup();
    let a = registry::register(observer(0), 0).unwrap();
    let object = registry::create_chain().unwrap();
    let other = spawn(move || {
        let result = registry::add(object, a);
        assert!(result.is_ok() || result == Err(libc::EBUSY), "{result:?}");
    });
    let result = registry::list(object, &mut |_| ());
    assert!(matches!(result, Ok(0 | 1) | Err(libc::EBUSY)), "{result:?}");
    let second = registry::create_chain().unwrap();
    assert_ne!(object, second);
    other.join().unwrap();
}

/// The last block of a list ends while the list's number is wanted for another.
fn list_against_list() {
    setup();
    let a = registry::register(interceptor(0), 0).unwrap();
    let id = make_block();
    assert_eq!(registry::unregister(a, None), libc::EINPROGRESS);
    let other = spawn(move || end_block(id));
    registry::register(interceptor(1), 0).unwrap();
    let now = make_block();
    other.join().unwrap();
    assert_eq!(released(0), 1);
    assert_eq!(registry::live_blocks(2), Ok(1));
    end_block(now);
    assert_eq!(registry::live_blocks(2), Ok(0));
}

/// As `setup`; whoever has done deferred work does not look for a cheaper mode afterwards: to publish that
/// would interrupt all others, and so hide what the end of a section carries.
fn setup_without_relaxing() {
    setup();
    grace::after_deferred(|| ());
}

/// Lets another thread go first; it costs no preemption.
fn pause() {
    loom::thread::yield_now();
}

/// A call on the short way, in its only observer, ends while another thread is at `unregister` with that.
fn call_ends_while_awaited(
    unregister: impl FnOnce(crate::abi::memhook_id) + 'static,
) -> loom::thread::JoinHandle<()> {
    call_ends_while_awaited_or_signalled(None, unregister)
}

/// The same, with a signal at its end.
fn call_ends_while_awaited_or_signalled(
    signal: Option<Box<dyn FnOnce()>>,
    unregister: impl FnOnce(crate::abi::memhook_id) + 'static,
) -> loom::thread::JoinHandle<()> {
    setup_without_relaxing();
    let a = registry::register(observer(0), 0).unwrap();
    let (section, _head) = chain::enter_briefly(guard::record().unwrap(), tls::stack_pointer()).unwrap();
    let writer = spawn(move || unregister(a));
    pause();
    use_hook(user(0) as *mut c_void);
    if let Some(handler) = signal {
        world::signal(handler);
    }
    drop(section);
    writer
}

/// An observer is unregistered while it is called on the short way: whoever sees that the call has ended may
/// free what it used.
fn leaves_while_awaited() {
    let writer = call_ends_while_awaited(|a| assert_eq!(registry::unregister(a, None), 0));
    writer.join().unwrap();
    assert_eq!(released(0), 1);
}

/// The same, where the thread comes back at once in a section that says nothing of the observer.
fn comes_back_briefly() {
    let writer = call_ends_while_awaited(|a| assert_eq!(registry::unregister(a, None), 0));
    call();
    writer.join().unwrap();
}

/// The same with sections that announce observers.
fn comes_back_fully() {
    setup_without_relaxing();
    let a = registry::register(observer(0), 0).unwrap();
    let mut writer = None;
    inside(|view| {
        tell(view);
        writer = Some(spawn(move || assert_eq!(registry::unregister(a, None), 0)));
        pause();
        use_hook(user(0) as *mut c_void);
    });
    call_fully();
    writer.unwrap().join().unwrap();
}

/// The thread suspends hooks right after the call.
fn leaves_and_suspends() {
    let writer = call_ends_while_awaited(|a| assert_eq!(registry::unregister(a, None), 0));
    guard::record().unwrap().suspend();
    writer.join().unwrap();
}

/// A call has come from one observer to the next when the first is unregistered.
fn goes_on_to_the_next() {
    setup_without_relaxing();
    let a = registry::register(observer(0), 0).unwrap();
    let b = registry::register(observer(1), 0).unwrap();
    let mut writer = None;
    inside(|view| {
        let record = guard::record().unwrap();
        let told =
            |n: usize| view.after_alloc.get().iter().find(move |t| t.user as usize == user(n)).unwrap();
        grace::announce_observer(record, told(0).hook as usize);
        writer = Some(spawn(move || assert_eq!(registry::unregister(a, None), 0)));
        pause();
        use_hook(told(0).user);
        grace::announce_observer(record, told(1).hook as usize);
        use_hook(told(1).user);
        pause();
    });
    writer.unwrap().join().unwrap();
    assert_eq!(registry::unregister(b, None), 0);
}

/// An observer has returned, and its call goes on.
fn returns_from_an_observer() {
    setup_without_relaxing();
    let a = registry::register(observer(0), 0).unwrap();
    let mut writer = None;
    inside(|view| {
        tell(view);
        writer = Some(spawn(move || assert_eq!(registry::unregister(a, None), 0)));
        pause();
        use_hook(user(0) as *mut c_void);
        grace::retract_observer(guard::record().unwrap());
        pause();
    });
    writer.unwrap().join().unwrap();
    assert_eq!(released(0), 1);
}

/// A call has been in an interceptor that is unregistered; a later section is in another one, or was about to be.
fn leaves_an_interceptor() {
    setup_without_relaxing();
    let a = registry::register(interceptor_of_frees(0), 0).unwrap();
    let record = guard::record().unwrap();
    let mut writer = None;
    inside(|_| {
        grace::announce_interceptor(record, 1);
        writer = Some(spawn(move || assert_eq!(registry::unregister(a, None), 0)));
        pause();
        use_hook(user(0) as *mut c_void);
    });
    inside(|_| {
        let before = grace::announce_interceptor(record, 2);
        grace::retract_interceptor(record, before);
    });
    writer.unwrap().join().unwrap();
    assert_eq!(released(0), 1);
}

/// A section in which an interceptor was called is left by longjmp.
fn abandons_an_interceptor() {
    setup_without_relaxing();
    let a = registry::register(interceptor_of_frees(0), 0).unwrap();
    let record = guard::record().unwrap();
    let section = grace::enter(record, 1 << 19).unwrap();
    grace::announce_interceptor(record, 1);
    let writer = spawn(move || assert_eq!(registry::unregister(a, None), 0));
    pause();
    use_hook(user(0) as *mut c_void);
    std::mem::forget(section);
    // The stack pointer is above that now: the frame of the call is gone.
    drop(grace::enter_anyhow(record, tls::stack_pointer()));
    writer.join().unwrap();
    assert_eq!(released(0), 1);
}

/// A head that the ended call named is used again, for another observer, before the writer looks at it.
fn named_head_is_used_again() {
    let writer = call_ends_while_awaited(|a| assert_eq!(registry::unregister(a, None), 0));
    registry::register(observer(1), 0).unwrap();
    writer.join().unwrap();
    assert_eq!(released(0), 1);
}

/// A head is used again by one thread after another thread's last look at it.
fn head_is_used_again() {
    setup_without_relaxing();
    let a = registry::register(observer(0), 0).unwrap();
    let other = spawn(move || {
        let entered = chain::enter_briefly(guard::record().unwrap(), tls::stack_pointer());
        let Some((section, head)) = entered else { return };
        assert!([0, libc::EINPROGRESS].contains(&registry::unregister(a, None)));
        // SAFETY: in this section.
        unsafe { head.view() };
        drop(section);
    });
    pause();
    registry::register(observer(1), 0).unwrap();
    other.join().unwrap();
}

/// One thread looks at a head, another one gives it back when the first has left, a third one takes it.
fn head_goes_from_hand_to_hand() {
    setup_without_relaxing();
    let a = registry::register(observer(0), 0).unwrap();
    let reader = spawn(|| {
        let Some((section, head)) = chain::enter_briefly(guard::record().unwrap(), tls::stack_pointer())
        else {
            return;
        };
        pause();
        // SAFETY: in this section.
        unsafe { head.view() };
        drop(section);
    });
    let writer = spawn(move || {
        inside(|_| assert!([0, libc::EINPROGRESS].contains(&registry::unregister(a, None))));
    });
    pause();
    registry::register(observer(1), 0).unwrap();
    reader.join().unwrap();
    writer.join().unwrap();
}

/// A section begins in the epoch of a publication, with the chain before it if it can.
fn begins_in_a_new_epoch() {
    setup_without_relaxing();
    let a = registry::register(observer(0), 0).unwrap();
    let reader = spawn(|| {
        inside(|view| {
            pause();
            tell(view);
        });
    });
    let result = registry::unregister(a, None);
    assert!([0, libc::EINPROGRESS].contains(&result), "{result}");
    reader.join().unwrap();
}

/// A removal is left to whoever leaves a section, which is another thread.
fn leaves_with_work() {
    let writer = call_ends_while_awaited(|a| {
        inside(|_| assert!([0, libc::EINPROGRESS].contains(&registry::unregister(a, None))));
    });
    writer.join().unwrap();
    assert_eq!(released(0), 1, "deferred work is stranded");
}

/// The call of a single interceptor goes on as one that announces.
fn goes_on_announcing() {
    setup_without_relaxing();
    let a = registry::register(interceptor_alone(0), 0).unwrap();
    let record = guard::record().unwrap();
    let (section, head) = chain::enter_briefly(record, tls::stack_pointer()).unwrap();
    // SAFETY: in this section.
    let single = unsafe { head.view() }.single.as_ref().unwrap();
    let writer = spawn(move || {
        let result = registry::unregister(a, None);
        assert!([0, libc::EINPROGRESS].contains(&result), "{result}");
    });
    pause();
    use_hook(single.user);
    grace::announce_interceptor(record, single.hook.bit());
    let section = section.announcing();
    use_hook(single.user);
    drop(section);
    writer.join().unwrap();
    assert_eq!(released(0), 1);
}

/// A thread is about to count that a block ended when its list is drained.
fn block_is_being_counted() {
    setup_without_relaxing();
    let a = registry::register(interceptor(0), 0).unwrap();
    let id = make_block();
    let mut writer = None;
    inside(|_| {
        writer = Some(spawn(move || {
            let result = registry::unregister(a, None);
            assert!([0, libc::EINPROGRESS].contains(&result), "{result}");
        }));
        world::with(|w| w.pause_in_count = true);
        ownership::gone(id, guard::record().unwrap());
    });
    writer.unwrap().join().unwrap();
    assert_eq!(released(0), 1, "a block was counted wrongly");
}

/// Two members of a list go, and its last block: it is released by who did not wait for the block's callback.
fn members_and_block_go() {
    setup_without_relaxing();
    let a = registry::register(interceptor(0), 0).unwrap();
    let b = registry::register(interceptor(1), 0).unwrap();
    let id = make_block();
    let other = spawn(move || {
        let result = registry::unregister(b, None);
        assert!([0, libc::EINPROGRESS].contains(&result), "{result}");
    });
    pause();
    let _ = registry::unregister(a, Some(0));
    end_block(id);
    other.join().unwrap();
    assert!(released(0) == 1 && released(1) == 1, "deferred work is stranded");
}

/// A thread arrives while what holds for the process changes: it is told, one way or the other.
fn circumstances_change() {
    setup_without_relaxing();
    let other = start(|| {
        guard::record().unwrap();
    });
    guard::set_circumstances(MEMHOOK_DURING_PROCESS_EXIT, MEMHOOK_DURING_STARTUP);
    other.join().unwrap();
    for record in guard::records() {
        assert_eq!(record.circumstances(), MEMHOOK_DURING_PROCESS_EXIT);
    }
}

// Hooks: their records, and what is decided about them.

/// A hook is looked at by its id, then it ends, and the next one is created in its record.
fn look_ends_before_the_next_life() {
    setup();
    let hook = chain::Hook::create(observer(0), 0, None).unwrap();
    let id = hook.id();
    hook.unpin();
    let other = spawn(move || look_at(id));
    pause();
    hook.end_service();
    chain::Hook::create(observer(1), 0, None).unwrap();
    other.join().unwrap();
}

/// What finds a hook by its id reads what it was registered with.
fn look_at(id: memhook_id) {
    if let Some(hook) = chain::Hook::pin(id) {
        hook.user();
        hook.unpin();
    }
}

/// The last block of a hook ends in one thread, and a second one uses its record again, while a third one finds
/// the hook by its id.
fn look_begins_in_the_next_life() {
    setup();
    let hook = chain::Hook::create(observer(0), 0, None).unwrap();
    let id = hook.id();
    hook.unpin();
    let looks = spawn(move || look_at(id));
    let ends = spawn(move || {
        hook.end_service();
    });
    chain::Hook::create_new(observer(1), 0, None).unwrap();
    looks.join().unwrap();
    ends.join().unwrap();
}

/// A hook's id goes over to the next one twice, and so comes back to its record, while it is looked up.
fn id_comes_back() {
    setup();
    let first = chain::Hook::create(observer(0), 0, None).unwrap();
    let id = first.id();
    first.unpin();
    let other = spawn(move || {
        let second = chain::Hook::create(observer(1), 0, Some(first)).unwrap();
        first.exchange_ids(second);
        first.end_service();
        let third = chain::Hook::create(observer(2), 0, Some(second)).unwrap();
        second.exchange_ids(third);
    });
    look_at(id);
    other.join().unwrap();
}

/// All hooks are looked at while one comes.
fn comes_under_a_look_at_all() {
    setup();
    let other = spawn(|| {
        chain::Hook::create(observer(0), 0, None).unwrap();
    });
    pause();
    chain::Hook::for_each(&mut |hook| {
        hook.user();
    });
    other.join().unwrap();
}

/// Whoever gives the last hold back calls the release, after all that others did before they gave theirs back.
fn holds_are_given_back() {
    setup();
    let hook = chain::Hook::create(interceptor(0), 0, None).unwrap();
    hook.hold();
    let other = spawn(|| {
        use_hook(hook.user());
        hook.unhold();
    });
    use_hook(hook.user());
    hook.end_service();
    other.join().unwrap();
    assert_eq!(released(0), 1);
}

/// A release is just over when its hook's object goes.
fn object_goes_after_a_release() {
    setup();
    let id = registry::register(observer(0), 0).unwrap();
    let other = spawn(move || {
        let result = registry::unregister(id, None);
        assert!([0, libc::EALREADY, libc::ESRCH].contains(&result), "{result}");
    });
    pause();
    registry::unregister_object(core::ptr::null(), true);
    assert_eq!(released(0), 1, "the object is unmapped under its hook");
    free_user(user(0));
    other.join().unwrap();
}

/// A hook that is in a chain object only is to be replaced, which fails, while the object ends: one of the two
/// releases it, after what the other did with it.
fn object_ends_while_replacing() {
    setup();
    let object = registry::create_chain().unwrap();
    let a = registry::register_in(object, observer(0), 0).unwrap();
    let other = spawn(move || {
        use_hook(user(0) as *mut c_void);
        registry::destroy(object);
    });
    let result = registry::replace(a, observer(1), 0);
    assert!([libc::ESRCH, libc::EALREADY].contains(&result), "{result}");
    other.join().unwrap();
    assert_eq!(released(0), 1, "nobody releases the hook");
}

/// A hook that is in a chain object only is to be replaced, which fails, while the object is put in force: the hook is
/// in force then, or the object is as it was.
fn object_is_put_in_force_while_replacing() {
    setup();
    let object = registry::create_chain().unwrap();
    let a = registry::register_in(object, observer(0), 0).unwrap();
    let other = spawn(move || {
        let result = registry::replace(a, observer(1), 0);
        assert!([0, libc::ESRCH].contains(&result), "{result}");
    });
    pause();
    let swapped = registry::swap(object, false);
    other.join().unwrap();
    assert_eq!(registry::list(0, &mut |info| assert_eq!(info.id, a)), Ok(usize::from(swapped.is_ok())));
    if swapped.is_err() {
        assert_eq!(registry::list(object, &mut |info| assert_eq!(info.id, a)), Ok(1));
    }
}

/// The same with a removal that finds no memory, and takes its decision back: the hook is in force, or was let go of.
fn object_is_put_in_force_while_removing() {
    setup_without_relaxing();
    let object = registry::create_chain().unwrap();
    let a = registry::register_in(object, observer(0), 0).unwrap();
    let other = spawn(move || {
        world::lack_memory(true);
        let result = registry::unregister(a, None);
        assert_eq!(result, libc::ENOMEM);
        world::lack_memory(false);
    });
    pause();
    registry::swap(object, false).unwrap();
    other.join().unwrap();
    grace::poll();
    let in_force = registry::list(0, &mut |_| ()).unwrap();
    assert_eq!(in_force + released(0), 1, "nobody has the hook");
}

/// Two chain objects are all that names a hook, and end in two threads.
fn both_objects_end() {
    setup();
    let first = registry::create_chain().unwrap();
    let a = registry::register_in(first, observer(0), 0).unwrap();
    let second = registry::create_chain().unwrap();
    registry::add(second, a).unwrap();
    let other = spawn(move || {
        use_hook(user(0) as *mut c_void);
        registry::destroy(second);
    });
    use_hook(user(0) as *mut c_void);
    registry::destroy(first);
    other.join().unwrap();
    assert_eq!(released(0), 1);
}

/// Two threads want to remove a hook, of which the first finds no memory for it and takes the decision back.
fn removal_without_memory() {
    setup_without_relaxing();
    let a = registry::register(observer(0), 0).unwrap();
    let other = spawn(move || {
        world::lack_memory(true);
        let result = registry::unregister(a, None);
        assert!([libc::ENOMEM, libc::EALREADY, libc::ESRCH].contains(&result), "{result}");
        world::lack_memory(false);
    });
    let result = registry::unregister(a, None);
    assert!([0, libc::EALREADY].contains(&result), "{result}");
    other.join().unwrap();
    assert_eq!(released(0), usize::from(result == 0));
    assert_eq!(in_force(0), result != 0);
}

/// The same, step by step, while a call is about to come to the hook: it passes it by once the second one has removed it.
fn removal_is_taken_back() {
    setup_without_relaxing();
    let a = registry::register(observer(0), 0).unwrap();
    let mut others = None;
    inside(|view| {
        let first = spawn(move || {
            let Some(hook) = chain::Hook::pin(a) else { return };
            if hook.kill() {
                hook.pass_by(true);
                hook.pass_by(false);
                hook.revive();
            }
            pause();
            hook.unpin();
        });
        let second = spawn(move || {
            let result = registry::unregister(a, None);
            assert!([0, libc::EALREADY].contains(&result), "{result}");
        });
        others = Some((first, second));
        pause();
        tell(view);
    });
    let (first, second) = others.unwrap();
    first.join().unwrap();
    second.join().unwrap();
}

/// One thread leaves the section in which it named a head, another one has it published again with the next observer,
/// and a third one, whom that section concerns, looks at it late.
fn named_head_has_passed_on() {
    setup_without_relaxing();
    let a = registry::register(observer(0), 0).unwrap();
    let hook = chain::Hook::pin(a).unwrap();
    let object = registry::create_chain().unwrap();
    let (section, _head) = chain::enter_briefly(guard::record().unwrap(), tls::stack_pointer()).unwrap();
    hook.pass_by(true);
    assert!(registry::swap(object, true).is_ok());
    let publishes = spawn(|| {
        pause();
        let section = grace::enter_here(guard::record().unwrap());
        let next = chain::Hook::create(observer(1), 0, None).unwrap();
        let (base, _) = chain::base(&section);
        let built = chain::Chain::build(&[core::ptr::from_ref(next)], 1, true).unwrap();
        chain::publish(base, built, chain::Mode::Observing).unwrap();
        pause();
        drop(section);
    });
    let waits = spawn(move || {
        let ticket = grace::advance();
        pause();
        pause();
        if grace::is_over(ticket, hook.scope()) {
            free_user(user(0));
        }
    });
    pause();
    use_hook(user(0) as *mut c_void);
    drop(section);
    waits.join().unwrap();
    publishes.join().unwrap();
}

/// As `call_ends_while_awaited`, with a signal that comes after the call's end, before its look at the epoch. The
/// writer waits in vain for as long as the call is open, and looks again as the handler runs.
fn signal_as_the_call_ends(handler: impl FnOnce() + 'static) {
    let writer = call_ends_while_awaited_or_signalled(Some(Box::new(handler)), |a| {
        let result = registry::unregister(a, Some(0));
        assert!([0, libc::ETIMEDOUT].contains(&result), "{result}");
        pause();
        grace::poll();
    });
    writer.join().unwrap();
    assert_eq!(released(0), 1, "deferred work is stranded");
}

/// The handler's call is on the short way.
fn signal_calls_briefly() {
    signal_as_the_call_ends(|| {
        call();
        pause();
    });
}

/// The same for a writer that does not look before, nor executes a fence after its look.
fn signal_calls_as_a_writer_looks() {
    setup_without_relaxing();
    let section = grace::enter_here(guard::record().unwrap());
    let writer = spawn(|| {
        let ticket = grace::advance();
        pause();
        if grace::is_over(ticket, grace::Scope::All) {
            free_user(user(0));
        }
    });
    pause();
    use_hook(user(0) as *mut c_void);
    world::signal(call);
    drop(section);
    writer.join().unwrap();
}

/// The same, and goes on as one that announces.
fn signal_calls_announcing() {
    signal_as_the_call_ends(|| {
        let record = guard::record().unwrap();
        if let Some((section, _)) = chain::enter_briefly(record, tls::stack_pointer()) {
            drop(section.announcing());
        }
        pause();
    });
}

/// The handler suspends hooks.
fn signal_suspends() {
    signal_as_the_call_ends(|| {
        guard::record().unwrap().suspend();
        pause();
    });
}

/// Memory is handed in outside of a section, as the last call that could have read it ends: who defers it and who
/// leaves see each other.
fn leaves_as_memory_is_deferred() {
    static WORK: grace::Deferred = grace::Deferred::new();
    unsafe fn over(_: *mut grace::Deferred) {
        // SAFETY: as a hook's release.
        unsafe { release(user(0) as *mut c_void) };
    }
    setup_without_relaxing();
    let section = grace::enter_here(guard::record().unwrap());
    let writer = spawn(|| {
        let ticket = grace::advance();
        // SAFETY: a static, which is deferred once.
        unsafe { grace::defer_memory((&raw const WORK).cast_mut(), ticket, over) };
        grace::poll();
    });
    pause();
    use_hook(user(0) as *mut c_void);
    drop(section);
    writer.join().unwrap();
    assert_eq!(released(0), 1, "deferred work is stranded");
}

/// A section is left by longjmp while another thread waits for all sections.
fn abandons_while_awaited() {
    setup_without_relaxing();
    let record = guard::record().unwrap();
    std::mem::forget(grace::enter(record, 1 << 19).unwrap());
    let writer = spawn(|| {
        assert_eq!(registry::synchronize(), 0);
        free_user(user(0));
    });
    pause();
    use_hook(user(0) as *mut c_void);
    // The stack pointer is above that now: the frame of the call is gone.
    drop(grace::enter_anyhow(record, tls::stack_pointer()));
    writer.join().unwrap();
}

/// An interceptor has returned, and its call goes on.
fn returns_from_an_interceptor() {
    setup_without_relaxing();
    let a = registry::register(interceptor_of_frees(0), 0).unwrap();
    let record = guard::record().unwrap();
    let mut writer = None;
    inside(|view| {
        // SAFETY: in this section.
        let bit = unsafe { &*view.interceptors.get()[0] }.bit();
        let before = grace::announce_interceptor(record, bit);
        writer = Some(spawn(move || assert_eq!(registry::unregister(a, None), 0)));
        pause();
        use_hook(user(0) as *mut c_void);
        grace::retract_interceptor(record, before);
        pause();
    });
    writer.unwrap().join().unwrap();
    assert_eq!(released(0), 1);
}

/// A signal handler leaves a call by longjmp just when it has counted that a block ended.
fn abandons_a_count() {
    setup_without_relaxing();
    let a = registry::register(interceptor(0), 0).unwrap();
    let id = make_block();
    let record = guard::record().unwrap();
    std::mem::forget(grace::enter(record, 1 << 19).unwrap());
    let writer = spawn(move || {
        let result = registry::unregister(a, None);
        assert!([0, libc::EINPROGRESS].contains(&result), "{result}");
    });
    world::with(|w| w.pause_in_count = true);
    world::with(|w| w.leave_after_count = true);
    // Where the list is drained by then, it is counted elsewhere, and nothing leaves.
    let _ = catch_unwind(AssertUnwindSafe(|| ownership::gone(id, record)));
    world::with(|w| w.leave_after_count = false);
    // The stack pointer is above that now: the frame of the call is gone.
    drop(grace::enter_anyhow(record, tls::stack_pointer()));
    writer.join().unwrap();
    assert_eq!(released(0), 1, "a block was counted wrongly");
}

/// Which user a callback of the program is to look at.
static WHICH: AtomicU64 = AtomicU64::new(0);

/// A callback runs that reads it.
fn use_which() {
    inside(|_| {
        let which = WHICH.load(Ordering::Acquire) as usize;
        pause();
        use_hook(user(which) as *mut c_void);
    });
}

/// The program exchanges what a callback reads, and waits for those that may have read it before.
fn synchronizes() {
    setup_without_relaxing();
    let reader = spawn(use_which);
    WHICH.store(1, Ordering::Release);
    assert_eq!(registry::synchronize(), 0);
    free_user(user(0));
    reader.join().unwrap();
}

/// The same while membarrier(2) is refused of a sudden. The first writer to find out interrupts who has executed
/// no fence, the second relies on that.
fn membarrier_is_taken_away() {
    setup_without_relaxing();
    world::with(|w| (w.refuses_membarrier, w.fences_meet) = (true, true));
    let first = spawn(sys_barrier::heavy);
    let second = spawn(|| {
        WHICH.store(1, Ordering::Release);
        if grace::is_over(grace::advance(), grace::Scope::All) {
            free_user(user(0));
        }
    });
    use_which();
    first.join().unwrap();
    second.join().unwrap();
}

// Owner lists, counts, permanent memory, and threads that end: where each begins, and no more.

/// What one thread leaves for another to find: it stands for what publications carry.
struct Hand(Rc<loom::sync::atomic::AtomicUsize>);

impl Hand {
    fn new() -> (Hand, Hand) {
        let place = Rc::new(loom::sync::atomic::AtomicUsize::new(0));
        (Hand(place.clone()), Hand(place))
    }

    fn leave(&self, what: usize) {
        world::take_interrupts();
        self.0.store(what, Ordering::Release);
    }

    fn find(&self) -> usize {
        world::take_interrupts();
        self.0.load(Ordering::Acquire)
    }
}

/// An interceptor that lists may have, while no chain does.
fn member(n: usize) -> &'static chain::Hook {
    chain::Hook::create(interceptor(n), 0, None).unwrap()
}

/// The number of the list of this interceptor alone.
fn list_of(member: &chain::Hook) -> u16 {
    inside(|_| ownership::find_or_create(&[core::ptr::from_ref(member)]).unwrap())
}

/// The first half of a removal: from now on no thread counts blocks of its lists by itself. None is just counting.
fn drain(member: &chain::Hook) {
    inside(|_| assert!(ownership::drain(member)));
    grace::advance();
}

/// A thread counts a block in a list whose number it may find: once, whatever it counted in a former list. Two
/// threads that are there: who takes the number from the former list for another, and who counts.
fn takes_the_number(former: u16, counting: usize) -> [loom::thread::JoinHandle<()>; 2] {
    let next = member(1);
    let (gives, takes) = Hand::new();
    let taking = spawn(move || gives.leave(list_of(next).into()));
    let counting = start(move || {
        tls::set(counting as *mut u8);
        if takes.find() == former.into() {
            let record = guard::record().unwrap();
            ownership::made(former, record);
            let counted = record.counted(former).unwrap().load(Ordering::Relaxed);
            assert_eq!(counted, 1, "what was counted in a former list is left");
        }
    });
    [taking, counting]
}

/// A list comes to its end as it is summed. A second thread takes its number, a third one, which had counted in
/// the former list, counts in the new one.
fn number_is_taken_again() {
    setup_without_relaxing();
    let former = member(0);
    let id = list_of(former);
    let counting = prepare();
    as_thread(counting as *mut u8, || ownership::made(id, guard::record().unwrap()));
    inside(|_| ownership::gone(id, guard::record().unwrap()));
    drain(former);
    let others = takes_the_number(id, counting);
    inside(|_| assert!(ownership::sum(former).unwrap().is_some()));
    others.into_iter().for_each(|other| other.join().unwrap());
}

/// The same, where a list that was summed comes to its end with its last block, in a fourth thread.
fn number_of_a_last_block_is_taken_again() {
    setup_without_relaxing();
    let former = member(0);
    let id = list_of(former);
    let counting = prepare();
    as_thread(counting as *mut u8, || ownership::made(id, guard::record().unwrap()));
    drain(former);
    let ending = spawn(move || inside(|_| ownership::gone(id, guard::record().unwrap())));
    let others = takes_the_number(id, counting);
    inside(|_| _ = ownership::sum(former));
    ending.join().unwrap();
    others.into_iter().for_each(|other| other.join().unwrap());
}

/// The last block of a list ends while the removal of one member sums it. Of the other member nothing is left
/// but the list: it is released with that.
fn last_block_ends_before_the_sum() {
    setup_without_relaxing();
    let (first, second) = (member(0), member(1));
    let members = [core::ptr::from_ref(first), core::ptr::from_ref(second)];
    let id = inside(|_| ownership::find_or_create(&members).unwrap());
    ownership::made(id, guard::record().unwrap());
    drain(first);
    second.end_service();
    let other = spawn(move || {
        inside(|_| {
            use_hook(user(1) as *mut c_void);
            ownership::gone(id, guard::record().unwrap());
        });
    });
    pause();
    if let Some(Some(list)) = inside(|_| ownership::sum(first)) {
        // SAFETY: `sum` gave it.
        unsafe { ownership::let_go(list) };
        assert_eq!(released(1), 1);
    }
    other.join().unwrap();
}

/// A list is made while another thread looks through them all.
fn lists_are_looked_through() {
    setup_without_relaxing();
    let (first, second) = (member(0), member(1));
    let other = spawn(move || _ = list_of(first));
    pause();
    inside(|_| assert_eq!(ownership::live_blocks(second), 0));
    other.join().unwrap();
}

/// A thread counts its first block while another one sums.
fn first_block_is_summed() {
    setup_without_relaxing();
    let first = member(0);
    let id = list_of(first);
    let other = spawn(move || inside(|_| ownership::made(id, guard::record().unwrap())));
    pause();
    inside(|_| assert!(ownership::live_blocks(first) <= 1));
    other.join().unwrap();
}

/// Two threads take permanent memory, more than a chunk has.
fn permanent_memory() {
    world::begin();
    const NEARLY_HALF: usize = 128 * 1024 - 64;
    let take = || {
        let at = free_list::permanent(NEARLY_HALF, 64).unwrap();
        assert!(world::is_memory(at), "memory from nowhere");
        // Whoever else has it would have done so too.
        world::cell(at as usize).with_mut(|_| ());
        world::with(|w| {
            let apart = |&other: &usize| other.abs_diff(at as usize) >= NEARLY_HALF;
            assert!(w.released.iter().all(apart), "handed out twice");
            w.released.push(at as usize);
        });
    };
    let other = loom::thread::spawn(move || {
        take();
        take();
    });
    take();
    take();
    other.join().unwrap();
}

/// This thread becomes one that has no record.
fn be_new() {
    tls::set(core::ptr::null_mut());
    world::with(|w| w.disguise = Some(50));
}

/// As `prepare`, of a thread that may end before its model does. Its number too.
fn prepare_mortal() -> (usize, u32) {
    let (record, number) = prepare_with_number();
    world::is_mortal(number);
    (record, number)
}

/// A thread in the section that it is in just now does `f`, and ends there: not before who waits.
fn end_in_section(record: usize, number: u32, f: impl FnOnce() + 'static) -> loom::thread::JoinHandle<()> {
    start(move || {
        tls::set(record as *mut u8);
        pause();
        f();
        world::dies(number);
    })
}

/// A thread ends in an observer, and another one takes over its record while the observer is unregistered: who
/// sees that the record is at rest may free what the observer used.
fn ends_in_an_observer() {
    setup_without_relaxing();
    let a = registry::register(observer(0), 0).unwrap();
    let (record, number) = prepare_mortal();
    as_thread(record as *mut u8, || {
        std::mem::forget(chain::enter_briefly(guard::record().unwrap(), tls::stack_pointer()).unwrap());
    });
    let writer = spawn(move || {
        let result = registry::unregister(a, Some(0));
        assert!([0, libc::ETIMEDOUT].contains(&result), "{result}");
    });
    let ending = end_in_section(record, number, || use_hook(user(0) as *mut c_void));
    be_new();
    pause();
    guard::record().unwrap();
    writer.join().unwrap();
    ending.join().unwrap();
    grace::poll();
    assert_eq!(released(0), 1, "a dead thread keeps the hook");
}

/// A thread ends in an interceptor that goes. Another one takes over its record, and enters the interceptor if that
/// is not to be passed by. Who goes by `scope` frees what the interceptor used.
fn ends_while_awaited(scope: fn(&chain::Hook) -> grace::Scope) {
    setup_without_relaxing();
    let hook = member(0);
    let (record, number) = prepare_mortal();
    as_thread(record as *mut u8, || {
        let record = guard::record().unwrap();
        std::mem::forget(grace::enter(record, tls::stack_pointer()).unwrap());
        grace::announce_interceptor(record, hook.bit());
    });
    let writer = spawn(move || {
        hook.pass_by(true);
        let ticket = grace::advance();
        if grace::is_over(ticket, scope(hook)) {
            free_user(user(0));
        }
    });
    let ending = end_in_section(record, number, || use_hook(user(0) as *mut c_void));
    be_new();
    pause();
    inside(|_| {
        grace::announce_interceptor(guard::record().unwrap(), hook.bit());
        if !hook.is_passed_by() {
            use_hook(user(0) as *mut c_void);
        }
    });
    writer.join().unwrap();
    ending.join().unwrap();
}

/// Who waits for whole sections looks at the record's word.
fn ends_in_a_section() {
    ends_while_awaited(|_| grace::Scope::All);
}

/// Who waits for those in an interceptor asks whether the thread has entered it.
fn ends_in_an_interceptor() {
    ends_while_awaited(|hook| grace::Scope::Interceptor(hook.address(), hook.bit()));
}

/// A thread has just counted that a block ended, and ends before it says so.
fn ends_while_counting() {
    setup_without_relaxing();
    let hook = member(0);
    let id = list_of(hook);
    let (record, number) = prepare_mortal();
    as_thread(record as *mut u8, || {
        let record = guard::record().unwrap();
        ownership::made(id, record);
        std::mem::forget(grace::enter(record, tls::stack_pointer()).unwrap());
        record.settling.store(true, Ordering::Relaxed);
    });
    let writer = spawn(move || {
        inside(|_| assert!(ownership::drain(hook)));
        let ticket = grace::advance();
        if grace::is_over(ticket, grace::Scope::Settling(hook.address(), hook.bit())) {
            inside(|_| assert!(ownership::sum(hook).unwrap().is_some(), "a block was counted wrongly"));
        }
    });
    let ending = end_in_section(record, number, move || assert!(guard::record().unwrap().count(id, -1)));
    be_new();
    pause();
    guard::record().unwrap();
    writer.join().unwrap();
    ending.join().unwrap();
}

/// One row: its name, how many preemptions an execution may have when it is to hold, and how many
/// while a mutation is tried; with none given, it is tried without preemptions only.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) preemptions: usize,
    pub(crate) mutated: Option<usize>,
    /// How many executions a mutation is looked for in: a number, not a time, so that the result is the same
    /// on every machine.
    pub(crate) most: usize,
    /// The functions that it is tried for with preemptions; none: all.
    pub(crate) functions: &'static str,
    pub(crate) run: fn(),
}

const USUAL: Model =
    Model { name: "", preemptions: 0, mutated: None, most: 1400, functions: "", run: free_list };

macro_rules! models {
    ($($name:ident: $preemptions:literal, $mutated:expr $(, $most:literal, $functions:literal)?;)*) => {
        pub(crate) const MODELS: &[Model] = &[
            $(Model {
                name: stringify!($name),
                preemptions: $preemptions,
                mutated: $mutated,
                run: $name,
                $(most: $most, functions: $functions,)?
                ..USUAL
            },)*
        ];

        /// Each model on the library as it is, whose readers execute no fence.
        mod membarrier {
            $(#[test]
            fn $name() {
                crate::check::holds(stringify!($name), crate::world::Variant::Membarrier);
            })*
        }

        /// The same where membarrier(2) is refused.
        mod fenced {
            $(#[test]
            fn $name() {
                crate::check::holds(stringify!($name), crate::world::Variant::Fenced);
            })*
        }
    };
}

// In the order of their cost.
models! {
    leaves_while_awaited: 1, Some(1);
    comes_back_briefly: 1, Some(1);
    comes_back_fully: 1, Some(1);
    leaves_and_suspends: 1, Some(1);
    goes_on_to_the_next: 1, Some(1);
    returns_from_an_observer: 1, Some(1);
    leaves_an_interceptor: 1, Some(1);
    abandons_an_interceptor: 1, Some(1);
    named_head_is_used_again: 1, Some(2), 12_000, "only publish";
    head_is_used_again: 1, Some(1);
    head_goes_from_hand_to_hand: 1, Some(2), 40_000, "give_back";
    begins_in_a_new_epoch: 1, Some(1);
    leaves_with_work: 1, Some(1);
    goes_on_announcing: 1, None;
    block_is_being_counted: 1, Some(1);
    members_and_block_go: 1, Some(1);
    circumstances_change: 1, Some(1);
    unregister_interceptor_inside: 1, Some(1);
    abandoned_while_suspended: 1, Some(1);
    reuse_against_release: 3, Some(3);
    object_against_object: 3, Some(3);
    first_marks: 3, Some(3);
    free_list: 3, Some(3);
    destroy_against_swap_inside: 2, Some(2);
    thread_arrives: 1, Some(1);
    alone_against_unregister: 1, Some(1);
    last_block_alone: 1, Some(1);
    reader_against_replace: 2, Some(1);
    removal_times_out: 2, Some(1);
    unregister_inside: 1, Some(1);
    memory_is_not_stranded: 2, Some(1);
    reader_against_unregister: 2, None;
    reader_of_two_against_unregister: 1, Some(1);
    block_ends_late: 1, Some(1);
    register_against_register: 1, Some(1);
    list_against_list: 1, None;
    swap_against_unregister: 1, None;
    replace_against_unregister: 0, None;
    object_goes_while_unregistering: 1, Some(1);
    two_members_go: 1, None;
    two_removals: 1, None;
    blocks_end: 1, None;
    // Of hooks and their records.
    look_ends_before_the_next_life: 2, Some(1);
    look_begins_in_the_next_life: 2, Some(2);
    id_comes_back: 1, Some(1);
    comes_under_a_look_at_all: 2, Some(1);
    holds_are_given_back: 3, Some(2);
    object_goes_after_a_release: 1, Some(1);
    object_ends_while_replacing: 1, Some(1);
    object_is_put_in_force_while_replacing: 1, None;
    object_is_put_in_force_while_removing: 1, None;
    both_objects_end: 1, Some(1);
    removal_without_memory: 1, None;
    removal_is_taken_back: 1, None;
    named_head_has_passed_on: 1, None;
    // Of grace periods and who waits for them.
    signal_calls_briefly: 1, Some(1);
    signal_calls_announcing: 1, Some(1);
    signal_suspends: 1, Some(1);
    signal_calls_as_a_writer_looks: 1, Some(1);
    leaves_as_memory_is_deferred: 1, Some(1);
    abandons_while_awaited: 1, Some(1);
    returns_from_an_interceptor: 1, Some(1);
    abandons_a_count: 1, Some(1);
    synchronizes: 1, Some(1);
    membarrier_is_taken_away: 2, Some(1), 12_000, "heavy";
    // Of lists of owners, memory, and threads that end.
    number_is_taken_again: 1, Some(1);
    number_of_a_last_block_is_taken_again: 1, Some(2), 12_000, "clear_counts gone_from";
    last_block_ends_before_the_sum: 1, Some(1);
    lists_are_looked_through: 1, Some(1);
    first_block_is_summed: 1, Some(1);
    permanent_memory: 3, Some(3);
    ends_in_an_observer: 1, None;
    ends_in_a_section: 2, Some(2), 4_000, "come_to_rest";
    ends_in_an_interceptor: 2, Some(2), 4_000, "come_to_rest";
    ends_while_counting: 2, Some(2), 4_000, "come_to_rest";
}
