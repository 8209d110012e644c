// Wide tables and code scroll sideways: a keyboard must reach them. The theme makes their frames when a page is shown.
const frames = ".md-typeset__scrollwrap, .md-typeset pre > code";
const reach = () => document.querySelectorAll(frames).forEach((frame) => {
  if (!frame.hasAttribute("tabindex")) frame.tabIndex = 0;
});
new MutationObserver(reach).observe(document.documentElement, { childList: true, subtree: true });
reach();
