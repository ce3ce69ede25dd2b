// What the tab key reaches on the page as it is shown. Whoever presses it asks `wanted()` how often,
// notes where the focus is after each press (`note()`), and hears in the end what was not reached, or
// was without an outline to be seen there (WCAG 2.2, 2.1.1 and 2.4.7).
(() => {
  const PRESSABLE = "button:not(:disabled), a[href], input, textarea, select";
  const before = document.activeElement;
  const scene = document.querySelector("dialog:modal") ?? document.body;
  const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest("[inert]");
  const all = [...scene.querySelectorAll(PRESSABLE)].filter(
    (element) => shown(element) && element.tabIndex >= 0,
  );
  const reached = new Set();
  const faults = [];
  const name = (element) => element.outerHTML.slice(0, 70);
  return {
    wanted: () => all.length,
    note() {
      const at = document.activeElement;
      if (reached.has(at) || !all.includes(at)) return;
      reached.add(at);
      const { outlineStyle, outlineWidth } = getComputedStyle(at);
      if (outlineStyle === "none" || parseFloat(outlineWidth) < 2) faults.push(`no sign of focus: ${name(at)}`);
    },
    missed() {
      document.activeElement?.blur(); // the focus may have been nowhere
      before?.focus({ preventScroll: true });
      for (const element of all) {
        if (!reached.has(element)) faults.push(`not reached by the tab key: ${name(element)}`);
      }
      return faults;
    },
  };
})()
