//! Looks symbols up in the objects of this process, without the dynamic linker's help.
//!
//! dlsym(3) takes the loader's lock and may allocate; the first allocation call comes from the
//! loader itself, before the C library is initialised. This reads the same tables without
//! either: dl_iterate_phdr(3) for the objects in link order, their hash tables for the symbol.

use super::{bytes, own};
use core::ffi::{CStr, c_char, c_int, c_void};

/// The dynamic section of one loaded object, as far as a lookup needs it.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    base: usize,
    name: *const c_char,
    segments: *const libc::Elf64_Phdr,
    segment_count: usize,
    symbols: *const libc::Elf64_Sym,
    strings: *const c_char,
    strings_len: usize,
    gnu_hash: *const u32,
    sysv_hash: *const u32,
    versions: *const u16,
    /// `DF_1_` bits.
    flags: usize,
    /// Tables of relocations with addend: address and bytes.
    relocations: [(usize, usize); 2],
}

/// One entry of a dynamic section (`Elf64_Dyn`).
#[repr(C)]
pub(super) struct Dynamic {
    tag: i64,
    value: usize,
}

/// A relocation with addend (`Elf64_Rela`).
#[repr(C)]
struct Relocation {
    offset: usize,
    info: u64,
    addend: i64,
}

const DT_PLTRELSZ: i64 = 2;
const DT_HASH: i64 = 4;
const DT_STRTAB: i64 = 5;
const DT_SYMTAB: i64 = 6;
const DT_RELA: i64 = 7;
const DT_RELASZ: i64 = 8;
const DT_STRSZ: i64 = 10;
const DT_JMPREL: i64 = 23;
const DT_FLAGS_1: i64 = 0x6fff_fffb;
const DF_1_NODELETE: usize = 8;
const DT_GNU_HASH: i64 = 0x6fff_fef5;
const DT_VERSYM: i64 = 0x6fff_fff0;

const STT_NOTYPE: u8 = 0;
const STT_OBJECT: u8 = 1;
const STT_FUNC: u8 = 2;
const STT_TLS: u8 = 6;
const STT_GNU_IFUNC: u8 = 10;
const SHN_UNDEF: u16 = 0;
const SHN_ABS: u16 = 0xfff1;

#[cfg(target_arch = "x86_64")]
const POINTER_RELOCATIONS: [u32; 3] = [1, 6, 7]; // R_X86_64_64, GLOB_DAT, JUMP_SLOT
#[cfg(target_arch = "aarch64")]
const POINTER_RELOCATIONS: [u32; 3] = [257, 1025, 1026]; // R_AARCH64_ABS64, GLOB_DAT, JUMP_SLOT
#[cfg(target_arch = "x86_64")]
const VARIABLE_RELOCATIONS: [u32; 3] = [1, 6, 5]; // R_X86_64_64, GLOB_DAT, COPY
#[cfg(target_arch = "aarch64")]
const VARIABLE_RELOCATIONS: [u32; 3] = [257, 1025, 1024]; // R_AARCH64_ABS64, GLOB_DAT, COPY

/// Calls `visit` for every object in link order until it returns false.
pub(crate) fn for_each_object(visit: &mut dyn FnMut(&Object) -> bool) {
    unsafe extern "C" fn step(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
        // SAFETY: `data` is the pointer passed to dl_iterate_phdr below, to a live reference.
        let visit = unsafe { &mut *data.cast::<&mut dyn FnMut(&Object) -> bool>() };
        // SAFETY: the loader gives a valid description for the length of this call.
        let info = unsafe { &*info };
        (!visit(&Object::read(info))).into()
    }
    let mut visit = visit;
    let iterate = own::iterate();
    // SAFETY: `step` has the signature that dl_iterate_phdr calls, and `visit` lives until it returns.
    unsafe { iterate(Some(step), (&raw mut visit).cast()) };
}

/// What a debugger sees of the loader (`r_debug` and `link_map` of <link.h>, as far as needed).
#[repr(C)]
struct Debug {
    version: c_int,
    first: *const Map,
}

#[repr(C)]
struct Map {
    base: usize,
    name: *const c_char,
    dynamic: *const Dynamic,
    next: *const Map,
}

/// Where the loader's list of the program's objects begins; null where there is none.
fn first_listed() -> *const Map {
    let debug = super::weak!(_r_debug).cast::<Debug>();
    // SAFETY: null, or the loader's variable, which it has filled in before any code of ours runs.
    unsafe { debug.as_ref() }.map_or(core::ptr::null(), |debug| debug.first)
}

/// Whether the object with this dynamic section is among the first `count` that the loader lists; `None` where it has
/// no list. Those are to be objects that came with the program: they are not unloaded, hence no lock is needed.
pub(super) fn is_among_first(count: u32, dynamic: *const Dynamic) -> Option<bool> {
    let mut at = first_listed();
    if at.is_null() {
        return None;
    }
    for _ in 0..count {
        // SAFETY: null, or an element of the loader's list.
        let Some(map) = (unsafe { at.as_ref() }) else { break };
        if map.dynamic == dynamic {
            return Some(true);
        }
        at = map.next;
    }
    Some(false)
}

/// A function of the C library, whoever interposes it. The C library came with the program: it
/// and what stands before it in the loader's list are not unloaded.
pub(crate) fn find_in_libc(name: &CStr) -> Option<usize> {
    let mut at = first_listed();
    // SAFETY: null, or an element of the loader's list.
    while let Some(map) = unsafe { at.as_ref() } {
        // SAFETY: of the loader's list.
        let object = unsafe { Object::listed(map.base, map.dynamic) };
        if is_c_library(&object) {
            return object.function(name);
        }
        at = map.next;
    }
    None
}

pub(super) fn is_c_library(object: &Object) -> bool {
    object.function(c"gnu_get_libc_version").is_some()
}

core::arch::global_asm!(".weak _r_debug");

/// Calls an indirect function's resolver, as the loader would.
fn choose(resolver: usize) -> usize {
    /// `__ifunc_arg_t` of AArch64; other architectures take no arguments.
    #[repr(C)]
    struct Arguments {
        size: u64,
        hwcap: u64,
        hwcap2: u64,
    }
    const HAS_ARGUMENTS: u64 = 1 << 62;
    let (hwcap, hwcap2) = (own::auxiliary(libc::AT_HWCAP), own::auxiliary(libc::AT_HWCAP2));
    let arguments = Arguments { size: size_of::<Arguments>() as u64, hwcap, hwcap2 };
    // SAFETY: the symbol's type says that a resolver is there.
    let resolver = unsafe {
        core::mem::transmute::<usize, unsafe extern "C" fn(u64, *const Arguments) -> usize>(resolver)
    };
    // SAFETY: these are the arguments that resolvers take; more than they look at do no harm.
    unsafe { resolver(hwcap | HAS_ARGUMENTS, &raw const arguments) }
}

impl Object {
    /// Of which nothing is known but where it was loaded.
    fn at(base: usize) -> Object {
        Object {
            base,
            name: core::ptr::null(),
            segments: core::ptr::null(),
            segment_count: 0,
            symbols: core::ptr::null(),
            strings: core::ptr::null(),
            strings_len: 0,
            gnu_hash: core::ptr::null(),
            sysv_hash: core::ptr::null(),
            versions: core::ptr::null(),
            flags: 0,
            relocations: [(0, 0); 2],
        }
    }

    fn read(info: &libc::dl_phdr_info) -> Object {
        let base = info.dlpi_addr as usize;
        let mut object = Object {
            name: info.dlpi_name,
            segments: info.dlpi_phdr,
            segment_count: info.dlpi_phnum.into(),
            ..Object::at(base)
        };
        if let Some(place) =
            object.segments().iter().find(|s| s.p_type == libc::PT_DYNAMIC).map(|s| s.p_vaddr)
        {
            // SAFETY: the dynamic section of a loaded object.
            unsafe { object.read_dynamic(base.wrapping_add(place as usize) as *const Dynamic) };
        }
        object
    }

    /// An object of which the loader's list tells where it was loaded to and where its dynamic section is.
    ///
    /// # Safety
    ///
    /// The object is loaded, and `dynamic` is null or its dynamic section.
    pub(super) unsafe fn listed(base: usize, dynamic: *const Dynamic) -> Object {
        let mut object = Object::at(base);
        if !dynamic.is_null() {
            // SAFETY: the caller's contract.
            unsafe { object.read_dynamic(dynamic) };
        }
        object
    }

    /// # Safety
    ///
    /// `entry` begins the dynamic section of the loaded object.
    unsafe fn read_dynamic(&mut self, mut entry: *const Dynamic) {
        loop {
            // SAFETY: the dynamic section of a loaded object is mapped and ends with DT_NULL.
            let Dynamic { tag, value } = unsafe { entry.read() };
            // glibc has relocated these addresses, except in the kernel's vdso. An object that was linked for a higher place
            // has a negative base.
            let is_file_address = self.base <= isize::MAX as usize && value < self.base;
            let address = if is_file_address { value.wrapping_add(self.base) } else { value };
            let [rela, plt] = &mut self.relocations;
            match tag {
                0 => break,
                DT_STRTAB => self.strings = address as _,
                DT_STRSZ => self.strings_len = value,
                DT_SYMTAB => self.symbols = address as _,
                DT_GNU_HASH => self.gnu_hash = address as _,
                DT_HASH => self.sysv_hash = address as _,
                DT_VERSYM => self.versions = address as _,
                DT_FLAGS_1 => self.flags = value,
                DT_RELA => rela.0 = address,
                DT_RELASZ => rela.1 = value,
                DT_JMPREL => plt.0 = address,
                DT_PLTRELSZ => plt.1 = value,
                _ => {}
            }
            entry = entry.wrapping_add(1);
        }
    }

    /// Where the object's dynamic section is; null where it has none.
    pub(super) fn dynamic(&self) -> *const Dynamic {
        let own = self.segments().iter().find(|s| s.p_type == libc::PT_DYNAMIC);
        own.map_or(core::ptr::null(), |s| self.base.wrapping_add(s.p_vaddr as usize) as *const Dynamic)
    }

    /// The difference between addresses in memory and in the object's file.
    pub(super) fn base(&self) -> usize {
        self.base
    }

    /// The name and the address of the symbol in which `address` lies, the same that dladdr(3) finds: of
    /// those that begin last, the first in the order of the hash table.
    pub(crate) fn symbol_around(&self, address: usize) -> Option<(&'static CStr, usize)> {
        if !self.is_dynamic() {
            return None;
        }
        let mut best: Option<&libc::Elf64_Sym> = None;
        self.for_each_hashed(&mut |symbol| {
            let start = self.base.wrapping_add(symbol.st_value as usize);
            let is_one = (symbol.st_shndx != SHN_UNDEF || symbol.st_value != 0)
                && symbol.st_shndx != SHN_ABS
                && symbol.st_info & 15 != STT_TLS
                && (symbol.st_name as usize) < self.strings_len;
            let is_point = symbol.st_shndx == SHN_UNDEF || symbol.st_size == 0;
            let around = (is_point && address == start)
                || (address >= start && address < start.wrapping_add(symbol.st_size as usize));
            if is_one && around && best.is_none_or(|best| best.st_value < symbol.st_value) {
                best = Some(symbol);
            }
        });
        let symbol = best?;
        // SAFETY: st_name is an offset into the object's string table.
        let name = unsafe { CStr::from_ptr(self.strings.wrapping_add(symbol.st_name as usize)) };
        Some((name, self.base.wrapping_add(symbol.st_value as usize)))
    }

    /// Shows the symbols that can be found by name.
    fn for_each_hashed<'s>(&'s self, visit: &mut dyn FnMut(&'s libc::Elf64_Sym)) {
        // SAFETY: indices come from the object's own hash tables.
        let symbol = |index: u32| unsafe { &*self.symbols.wrapping_add(index as usize) };
        if self.gnu_hash.is_null() {
            if !self.sysv_hash.is_null() {
                // SAFETY: the table starts with the numbers of buckets and chains; these are as many as
                // there are symbols.
                let [_, count] = unsafe { *self.sysv_hash.cast::<[u32; 2]>() };
                let is_global = |symbol: &libc::Elf64_Sym| matches!(symbol.st_info >> 4, 1 | 2);
                (0..count).map(symbol).filter(|symbol| is_global(symbol)).for_each(visit);
            }
            return;
        }
        // SAFETY: the table starts with four words.
        let [buckets, first, bloom_words, _] = unsafe { *self.gnu_hash.cast::<[u32; 4]>() };
        let table = self.gnu_hash.wrapping_add(4 + 2 * bloom_words as usize);
        for bucket in 0..buckets {
            // SAFETY: `bucket` is below the number of buckets.
            let mut index = unsafe { *table.wrapping_add(bucket as usize) };
            while index >= first && index != 0 {
                visit(symbol(index));
                // SAFETY: chains run through the table up to an entry with bit 0 set.
                let entry = unsafe { *table.wrapping_add(buckets as usize + (index - first) as usize) };
                index = if entry & 1 != 0 { 0 } else { index + 1 };
            }
        }
    }

    /// Whether the object was linked so that it is never unloaded (`-z nodelete`).
    pub(super) fn is_kept(&self) -> bool {
        self.flags & DF_1_NODELETE != 0
    }

    /// Whether the object has symbols for the dynamic linker.
    pub(crate) fn is_dynamic(&self) -> bool {
        !self.symbols.is_null() && !self.strings.is_null()
    }

    fn segments(&self) -> &[libc::Elf64_Phdr] {
        if self.segments.is_null() {
            return &[];
        }
        // SAFETY: the loader gave address and count of the object's program headers.
        unsafe { core::slice::from_raw_parts(self.segments, self.segment_count) }
    }

    /// Whether `address` lies in the object.
    pub(crate) fn contains(&self, address: usize) -> bool {
        self.segments().iter().filter(|s| s.p_type == libc::PT_LOAD).any(|s| {
            let start = self.base.wrapping_add(s.p_vaddr as usize);
            address.wrapping_sub(start) < s.p_memsz as usize
        })
    }

    /// The addresses from the object's first to behind its last.
    pub(crate) fn range(&self) -> (usize, usize) {
        let mut range = (usize::MAX, 0);
        for segment in self.segments().iter().filter(|s| s.p_type == libc::PT_LOAD) {
            let start = self.base.wrapping_add(segment.p_vaddr as usize);
            range = (range.0.min(start), range.1.max(start.wrapping_add(segment.p_memsz as usize)));
        }
        range
    }

    /// The object's path; empty for the main program.
    pub(crate) fn name(&self) -> &'static CStr {
        if self.name.is_null() {
            return c"";
        }
        // SAFETY: the loader's string; it lives as long as the object.
        unsafe { CStr::from_ptr(self.name) }
    }

    /// The address of the function `name` that the object defines.
    pub(crate) fn function(&self, name: &CStr) -> Option<usize> {
        if !self.is_dynamic() {
            return None;
        }
        // An object may define a function in an old version only (glibc's libc_malloc_debug.so): references
        // that name this version lead there.
        let symbol = self.find(name, false).or_else(|| self.find(name, true))?;
        let address = self.base.wrapping_add(symbol.st_value as usize);
        match symbol.st_info & 15 {
            // Assemblers give a symbol no type unless they are told to.
            STT_FUNC | STT_NOTYPE => Some(address),
            STT_GNU_IFUNC => Some(choose(address)),
            _ => None,
        }
    }

    /// The address of the variable `name` that the object defines, and whether in an old version only.
    pub(crate) fn variable(&self, name: &CStr) -> Option<(usize, bool)> {
        if !self.is_dynamic() {
            return None;
        }
        let current = self.find(name, false);
        let symbol = current.or_else(|| self.find(name, true))?;
        let address = self.base.wrapping_add(symbol.st_value as usize);
        (symbol.st_info & 15 == STT_OBJECT).then_some((address, current.is_none()))
    }

    /// Whether the object's code refers to the variable `name`, be it its own or another's.
    pub(crate) fn refers_to(&self, name: &CStr) -> bool {
        if !self.is_dynamic() {
            return false;
        }
        // Most objects do not even have the name: that is quickly seen.
        // SAFETY: DT_STRSZ is the size of the string table.
        let names = unsafe { core::slice::from_raw_parts(self.strings.cast(), self.strings_len) };
        let mut refers = false;
        if bytes::contains(names, name.to_bytes_with_nul()) {
            self.for_each_relocation(name, VARIABLE_RELOCATIONS, &mut |_| refers = true);
        }
        refers
    }

    fn find(&self, name: &CStr, old: bool) -> Option<&libc::Elf64_Sym> {
        if self.gnu_hash.is_null() { self.by_sysv_hash(name, old) } else { self.by_gnu_hash(name, old) }
    }

    fn symbol(&self, index: u32, name: &CStr, old: bool) -> Option<&libc::Elf64_Sym> {
        // SAFETY: `index` comes from the object's own hash table.
        let symbol = unsafe { &*self.symbols.wrapping_add(index as usize) };
        // SAFETY: st_name is an offset into the object's string table.
        let own = unsafe { CStr::from_ptr(self.strings.wrapping_add(symbol.st_name as usize)) };
        if symbol.st_shndx == SHN_UNDEF || own != name {
            return None;
        }
        // A version with the hidden bit is for old binaries only.
        // SAFETY: DT_VERSYM has one entry for each symbol.
        let hidden =
            !self.versions.is_null() && unsafe { *self.versions.wrapping_add(index as usize) } & 0x8000 != 0;
        (old || !hidden).then_some(symbol)
    }

    fn by_gnu_hash(&self, name: &CStr, old: bool) -> Option<&libc::Elf64_Sym> {
        let hash = name.to_bytes().iter().fold(5381u32, |h, &c| h.wrapping_mul(33).wrapping_add(c.into()));
        // SAFETY: the table starts with four words.
        let [buckets, first, bloom_words, _] = unsafe { *self.gnu_hash.cast::<[u32; 4]>() };
        let bucket_table = self.gnu_hash.wrapping_add(4 + 2 * bloom_words as usize);
        let slot = hash.checked_rem(buckets)?;
        // SAFETY: `slot` is below the number of buckets.
        let mut index = unsafe { *bucket_table.wrapping_add(slot as usize) };
        if index < first {
            return None;
        }
        loop {
            let chain = bucket_table.wrapping_add(buckets as usize + (index - first) as usize);
            // SAFETY: chains run through the table up to an entry with bit 0 set.
            let entry = unsafe { *chain };
            if (entry ^ hash) >> 1 == 0
                && let Some(symbol) = self.symbol(index, name, old)
            {
                return Some(symbol);
            }
            if entry & 1 != 0 {
                return None;
            }
            index += 1;
        }
    }

    fn by_sysv_hash(&self, name: &CStr, old: bool) -> Option<&libc::Elf64_Sym> {
        if self.sysv_hash.is_null() {
            return None;
        }
        let hash = name.to_bytes().iter().fold(0u32, |h, &c| {
            let h = (h << 4).wrapping_add(c.into());
            let top = h & 0xf000_0000;
            (h ^ (top >> 24)) & !top
        });
        // SAFETY: the table starts with the numbers of buckets and chains.
        let [buckets, _] = unsafe { *self.sysv_hash.cast::<[u32; 2]>() };
        let slot = hash.checked_rem(buckets)?;
        // SAFETY: `slot` is below the number of buckets.
        let mut index = unsafe { *self.sysv_hash.wrapping_add(2 + slot as usize) };
        while index != 0 {
            if let Some(symbol) = self.symbol(index, name, old) {
                return Some(symbol);
            }
            // SAFETY: the chain table has one entry for each symbol.
            index = unsafe { *self.sysv_hash.wrapping_add(2 + (buckets + index) as usize) };
        }
        None
    }

    /// Calls `visit` with each place where the object keeps the address of the function `name`: its
    /// relocated pointers.
    pub(crate) fn for_each_binding(&self, name: &CStr, visit: &mut dyn FnMut(*const usize)) {
        self.for_each_relocation(name, POINTER_RELOCATIONS, visit);
    }

    /// Calls `visit` with the place of each relocation of these types that names the symbol.
    fn for_each_relocation(&self, name: &CStr, types: [u32; 3], visit: &mut dyn FnMut(*const usize)) {
        for (table, bytes) in self.relocations {
            let count = bytes / size_of::<Relocation>();
            for i in 0..count {
                // SAFETY: DT_RELASZ and DT_PLTRELSZ give the size of the table.
                let relocation = unsafe { &*(table as *const Relocation).wrapping_add(i) };
                if !types.contains(&(relocation.info as u32)) {
                    continue;
                }
                let index = (relocation.info >> 32) as usize;
                // SAFETY: relocations name symbols of the object's own table.
                let symbol = unsafe { &*self.symbols.wrapping_add(index) };
                // SAFETY: st_name is an offset into the object's string table.
                let own = unsafe { CStr::from_ptr(self.strings.wrapping_add(symbol.st_name as usize)) };
                if own == name {
                    visit(self.base.wrapping_add(relocation.offset) as *const usize);
                }
            }
        }
    }
}

/// Objects by what is mapped of them.
impl Object {
    /// The object whose file header is mapped at `base`, of which the loader says nothing.
    ///
    /// # Safety
    ///
    /// The beginning of an object that the loader has loaded.
    pub(crate) unsafe fn loaded_at(base: usize) -> Option<Object> {
        // SAFETY: the caller's contract: at least a page is mapped there.
        let header = unsafe { &*(base as *const libc::Elf64_Ehdr) };
        if header.e_ident.first_chunk() != Some(b"\x7fELF") {
            return None;
        }
        let phdr = base.wrapping_add(header.e_phoff as usize) as *const libc::Elf64_Phdr;
        // SAFETY: program headers are in the first page of a loaded object.
        let segments = unsafe { core::slice::from_raw_parts(phdr, header.e_phnum.into()) };
        let first = segments.iter().filter(|s| s.p_type == libc::PT_LOAD).map(|s| s.p_vaddr).min()?;
        // SAFETY: numbers and pointers only.
        let mut info: libc::dl_phdr_info = unsafe { core::mem::zeroed() };
        info.dlpi_addr = (base as u64).wrapping_sub(first & !(super::pages::PAGE as u64 - 1));
        (info.dlpi_phdr, info.dlpi_phnum) = (phdr, header.e_phnum);
        Some(Object::read(&info))
    }
}
